"""``hindsight rm``: runs are removed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli import completion, options
from tracker.cli.failures import NOT_SO, OK, tell
from tracker.cli.stores import open_for_reading
from tracker.cli.texts import counted, local_time, shorten, size_text

if TYPE_CHECKING:
    from tracker.read.catalog import RunView
    from tracker.store.base import Store
    from tracker.upkeep.removal import Removed

_MOST_SHOWN = 20

Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN]…",
        help="Runs: their ids, unique beginnings or ends of them, or latest.",
        autocompletion=completion.run_ids,
        show_default=False,
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Also runs that are pinned, or cannot be read.", show_default=False),
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]


def rm(
    runs: Runs = None,
    where: options.Where = None,
    force: Force = False,
    dry_run: Dry = False,
    yes: Yes = False,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Remove runs: records, checkpoints, and what replays answered about them.

    Runs that are still going are never removed. Checkpoint data, code and other payloads that nothing else needs are
    freed by the next gc. A removed run does not come back with a sync from another store, unless that is called with
    --restore; other stores keep theirs.

    Exit code 1 when one of the runs stays, with the reason.

    JSON: {store, dry_run, runs: {run: bytes}, keys, size_bytes, kept: {run: reason}}.
    """
    from tracker.upkeep.removal import remove_runs

    opened = open_for_reading(store)
    names, views = _chosen(opened, runs, where)
    asked = not (dry_run or yes)
    found = remove_runs(opened, names, force=force, dry_run=dry_run or asked)
    if asked and found.runs and not as_json:
        _list_runs(views, found)
        if not _confirmed(found):
            return NOT_SO
    if asked and found.runs:
        if as_json:
            tell("nothing was removed: --yes removes")
        else:
            kept, found = found.kept, remove_runs(opened, list(found.runs), force=force)
            found.kept = kept | found.kept
    _show(opened, views, found, as_json=as_json)
    return NOT_SO if found.kept else OK


def _chosen(store: Store, runs: list[str] | None, where: str | None) -> tuple[list[str], list[RunView]]:
    """The runs that are meant, and those of them that can be seen: also one that was named and is damaged is meant."""
    from tracker.errors import InputError
    from tracker.read.catalog import resolve_id
    from tracker.read.select import runs as select
    from tracker.store import ids, keys

    if not runs and where is None:
        raise InputError("rm needs runs, or --where EXPR that chooses them")
    known = {run for run in store.folders(keys.RUNS) if ids.is_id(run)} if runs else set()
    named = list(dict.fromkeys(resolve_id(store, text, known) for text in runs or ()))
    views = list(select(store, where=where, runs=named or None))
    return named if where is None else [view.run for view in views], views


def _confirmed(found: Removed) -> bool:
    if not sys.stdin.isatty():
        tell("nothing was removed: --yes removes without asking")
        return False
    if typer.confirm(f"Remove {counted(len(found.runs), 'run')} for good?", default=False):
        return True
    tell("nothing was removed")
    return False


def _list_runs(views: list[RunView], found: Removed) -> None:
    seen = {view.run: view for view in views}
    for run, size_bytes in list(found.runs.items())[:_MOST_SHOWN]:
        print(_line(run, seen.get(run), size_text(size_bytes)))
    if len(found.runs) > _MOST_SHOWN:
        print(f"  and {len(found.runs) - _MOST_SHOWN} more")


def _line(run: str, view: RunView | None, size: str) -> str:
    if view is None:
        return f"  {run[-8:]}  {'its run.json cannot be read':27} {size:>9}"
    about = " ".join(part for part in (view.project, view.name or "", view.script) if part)
    return f"  {view.short}  {local_time(view.started)[:-3]}  {view.status:9} {size:>9}  {shorten(about, 60)}"


def _show(store: Store, views: list[RunView], found: Removed, *, as_json: bool) -> None:
    if as_json:
        import dataclasses

        from tracker.cli.forms import write_json

        write_json({"store": store.url, "size_bytes": found.size_bytes} | dataclasses.asdict(found))
        return
    if found.dry_run:
        _list_runs(views, found)
    if found.runs:
        would = "would be removed" if found.dry_run else "removed"
        size = size_text(found.size_bytes)
        print(f"{counted(len(found.runs), 'run')} {would}, {size}; `hindsight gc` frees what only they needed")
    elif not found.kept:
        tell("no run is like that")
    for run, reason in found.kept.items():
        tell(f"kept {run[-8:]}: {reason}")
