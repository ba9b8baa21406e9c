"""``hindsight gc``: what no rule keeps and nothing needs is removed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.cli import options
from tracker.cli.failures import NOT_SO, OK, tell
from tracker.cli.stores import open_for_reading, settings_here
from tracker.cli.texts import counted, duration_text, safe_line, size_text

if TYPE_CHECKING:
    from tracker.upkeep.retention_summary import Collected

_MOST_SHOWN = 20
_WORDS = {
    "run": ("run", "runs"),
    "checkpoint": ("checkpoint", "checkpoints"),
    "object": ("object", "objects"),
    "code": ("file of code", "files of code"),
    "replay": ("plan of a replay", "plans of replays"),
    "leftover": ("unfinished write", "unfinished writes"),
}

Last = Annotated[
    int | None,
    typer.Option("--keep-last", metavar="N", min=0, help="Keep the last N runs of each project.", show_default=False),
]
Best = Annotated[
    list[str] | None,
    typer.Option(
        "--keep-best",
        metavar="METRIC[:min|max][:N]",
        help="Keep the best N runs (default 1) by the last value of a metric, also one inside loops. May be repeated.",
        show_default=False,
    ),
]
Younger = Annotated[
    str | None,
    typer.Option("--keep-younger", metavar="AGE", help="Keep runs younger than 30d, 12h …", show_default=False),
]
Tagged = Annotated[
    list[str] | None,
    typer.Option("--keep-tagged", metavar="TAG", help="Keep runs with this tag. May be repeated.", show_default=False),
]
Spacing = Annotated[
    str | None,
    typer.Option(
        "--checkpoints",
        metavar="N|log",
        help="Of runs that are over keep every Nth checkpoint, or those 1, 2, 4, 8 … before the last; and always the "
        "first, the last, and with --keep-best those at the best values.",
        show_default=False,
    ),
]
Grace = Annotated[
    str | None,
    typer.Option(
        "--grace", metavar="AGE", help="Leave alone what is younger. Default: 24h.", show_default=False
    ),
]  # fmt: skip
Dry = Annotated[bool, typer.Option("--dry-run", help="Only show what would go.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]


def gc(
    keep_last: Last = None,
    keep_best: Best = None,
    keep_younger: Younger = None,
    keep_tagged: Tagged = None,
    checkpoints: Spacing = None,
    where: options.Where = None,
    grace: Grace = None,
    dry_run: Dry = False,
    yes: Yes = False,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Free space: remove the runs that no rule keeps, and what nothing needs any more.

    Without --keep-last, --keep-best or --keep-younger no run goes, only what removed runs and killed processes left.
    Rules can stand in [tool.hindsight.retention] of pyproject.toml: keep_last, keep_best, keep_younger, keep_tagged,
    checkpoints, grace. Pinned runs, runs that are going, and runs inside of one that stays are always kept.

    It shows what would go, and asks; --dry-run and --json only show, --yes does not ask. Runs may be recorded and
    stores be copied meanwhile; stopped or killed at any moment, the next gc goes on. Exit code 1 when something was
    left for another time, with the reason, such as another gc that is at work.

    JSON: {store, dry_run, complete, runs: {run: {reason, size_bytes}}, finished: [run], checkpoints: {run: number},
    spared: {run: reason}, counts: {category: number}, sizes_bytes: {category: bytes}, size_bytes, problems: {key:
    reason}, duration_s}.
    """
    from tracker.upkeep.retention import Policy, with_units
    from tracker.upkeep.retention_gc import collect

    given = {
        "keep_last": keep_last,
        "keep_best": keep_best or None,
        "keep_younger": keep_younger,
        "keep_tagged": keep_tagged or None,
        "checkpoints": checkpoints,
        "grace": grace,
    }
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    opened = open_for_reading(store)
    policy = Policy.of(with_units(settings_here().retention) | chosen)
    found = collect(opened, policy, where=where, dry_run=dry_run or not yes)
    _show(found, as_json=as_json)
    if as_json and found.keys and not (dry_run or yes):
        tell("nothing was removed: --yes removes")
    if not (dry_run or yes or as_json) and found.keys:
        if not _confirmed(found):
            return NOT_SO
        found = collect(opened, policy, where=where, dry_run=False, shown=found)
        _show(found, as_json=False)
    return OK if found.complete else NOT_SO


def _confirmed(found: Collected) -> bool:
    if not sys.stdin.isatty():
        tell("nothing was removed: --yes removes without asking")
        return False
    if typer.confirm(f"Remove {size_text(found.size_bytes)} for good?", default=False):
        return True
    tell("nothing was removed")
    return False


def _show(found: Collected, *, as_json: bool) -> None:
    if as_json:
        import dataclasses

        from tracker.cli.forms import write_json

        extra = {"complete": found.complete, "size_bytes": found.size_bytes}
        write_json(dataclasses.asdict(found) | extra)
        return
    would = "would be " if found.dry_run else ""
    _some([f"  {run[-8:]}  {size_text(gone.size_bytes):>9}  {gone.reason}" for run, gone in found.runs.items()])
    for run in found.finished:
        print(f"  {run[-8:]}: the rest of a run whose removal was interrupted")
    _some([f"  {run[-8:]}: {counted(number, 'checkpoint')}" for run, number in found.checkpoints.items()])
    parts = [f"{counted(number, *_WORDS[kind])}, {size_text(found.sizes_bytes[kind])}"
             for kind, number in found.counts.items()]  # fmt: skip
    if parts:
        total = f" ({size_text(found.size_bytes)} in all, {duration_text(found.duration_s)})"
        print(f"{would}removed from {found.store}: {'; '.join(parts)}{total}")
    else:
        print(f"nothing {'to remove' if found.dry_run else 'was removed'} in {found.store}")
    _some([f"kept {run[-8:]}: {reason}" for run, reason in found.spared.items()], aside=True)
    for key, reason in found.problems.items():
        tell(safe_line(f"payloads stay: {key}: {reason}"))


def _some(lines: list[str], *, aside: bool = False) -> None:
    say = tell if aside else print
    for line in lines[:_MOST_SHOWN]:
        say(line)
    if len(lines) > _MOST_SHOWN:
        say(f"  and {len(lines) - _MOST_SHOWN} more: --json names all")
