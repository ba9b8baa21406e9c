"""``hindsight runs``: which runs there are, and in what they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.cli import options
from tracker.cli.failures import OK, tell
from tracker.cli.stores import open_for_reading

if TYPE_CHECKING:
    from tracker.cli.console import Column
    from tracker.read.catalog import RunView
    from tracker.store.base import Store

DEFAULT_LIMIT = 20


def runs(
    where: options.Where = None,
    project: Annotated[
        str | None,
        typer.Option("--project", "-p", metavar="NAME", help="Only runs of this project.", show_default=False),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=0, help="At most so many, the latest; 0 for all.")
    ] = DEFAULT_LIMIT,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """List runs, the latest first.

    A column is shown where the runs differ in it; what they share stands above the table. Arguments come before
    results (the last values logged outside all loops). Times are local, in JSON they are UTC.

    JSON: {"runs": [{run, short, project, name, script, status, started, ended, duration_s, attempts, parent, tags,
    pinned, arguments, summary}], "total", "more"}: how many there are, and how many of them were left out.
    """
    opened = open_for_reading(store)
    views, total = select(opened, where, project, limit)
    if as_json:
        from tracker.cli.forms import run_form, write_json

        write_json({"runs": [run_form(view) for view in views], "total": total, "more": total - len(views)})
        return OK
    if not views:
        chosen = where is not None or project is not None
        tell(
            "no run is like that"
            if chosen
            else f"no runs yet in {opened.url}; `hindsight run -- python train.py` records one"
        )
        return OK
    print_runs(views, total)
    return OK


def select(store: Store, where: str | None, project: str | None, limit: int) -> tuple[list[RunView], int]:
    """The latest runs that are wanted, newest first, and how many are wanted in all.

    Without a condition only the documents of the runs that are shown are fetched.
    """
    from tracker.errors import NameNotFound
    from tracker.read.catalog import scan
    from tracker.read.select import runs as read_runs
    from tracker.read.where import near
    from tracker.store import ids, keys

    if where is None and project is None:
        names = sorted((run for run in store.folders(keys.RUNS) if ids.is_id(run)), reverse=True)
        views = scan(store, names[: limit or None]) if names else []
        return views[::-1], len(names)
    found = list(read_runs(store, where=where))
    if project is not None:
        known = {view.project for view in found}
        if found and project not in known:
            raise NameNotFound(f"no run of project {project!r}{near(project, known)}")
        found = [view for view in found if view.project == project]
    return found[::-1][: limit or None], len(found)


def print_runs(views: Sequence[RunView], total: int) -> None:
    from tracker.cli.console import print_table, say
    from tracker.cli.texts import counted

    shared = [f"{head} {getattr(views[0], head)}" for head in ("project", "script") if _is_shared(views, head)]
    count = counted(total, "run") if total == len(views) else f"{len(views)} of {counted(total, 'run')}"
    say(" · ".join([count, *shared]), "dim")
    hidden = print_table(_columns(views))
    if hidden:
        say(f"no room for {', '.join(hidden)}: a wider terminal, `hindsight show RUN` or --json has them", "dim")
    if total > len(views):
        say(f"{total - len(views)} more: --limit 0 shows all", "dim")


def _is_shared(views: Sequence[RunView], attribute: str) -> bool:
    return len({getattr(view, attribute) for view in views}) == 1


def _columns(views: Sequence[RunView]) -> list[Column]:
    from tracker.cli.console import Column, status_style
    from tracker.cli.texts import duration_text, local_time, shorten, zone_name

    columns = [
        Column("run", [view.short for view in views], style=lambda text: "bold"),
        Column(f"started ({zone_name()})", [local_time(view.started)[:-3] for view in views], rank=3),
        Column("duration", [duration_text(view.duration) for view in views], rank=2, right=True),
        Column("status", [view.status for view in views], style=status_style),
    ]
    for head, rank in (("project", 4), ("script", 4), ("name", 1)):
        texts = [shorten(str(getattr(view, head) or ""), 24) for view in views]
        if any(texts) and (head == "name" or not _is_shared(views, head)):
            columns.append(Column(head, texts, rank=rank))
    marks = [shorten(", ".join(["pinned"] * view.pinned + list(view.tags)), 24) for view in views]
    if any(marks):
        columns.append(Column("tags", marks, rank=4))
    arguments = _differing([view.arguments for view in views])
    results = _names([view.summary for view in views])
    columns += [_value_column(name, [view.arguments for view in views], 5) for name in arguments]
    columns += [_value_column(name, [view.summary for view in views], 6) for name in results]
    return columns


def _names(mappings: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _differing(mappings: Sequence[dict[str, Any]]) -> list[str]:
    """The names whose values are not the same in all runs; with one run all of them."""
    absent = object()
    return [
        name
        for name in _names(mappings)
        if len(mappings) == 1 or len({repr(mapping.get(name, absent)) for mapping in mappings}) > 1
    ]


def _value_column(name: str, mappings: Sequence[dict[str, Any]], rank: int) -> Column:
    from tracker.cli.console import Column
    from tracker.cli.texts import shorten, value_text

    values = [mapping.get(name, "") for mapping in mappings]
    is_number = all(isinstance(value, int | float) or value == "" for value in values)
    return Column(shorten(name, 24), [value_text(value, 24) for value in values], rank=rank, right=is_number)
