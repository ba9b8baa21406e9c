"""``hindsight compact``: the index of a store is brought up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli import options
from tracker.cli.failures import NOT_SO, OK, tell
from tracker.cli.texts import counted, duration_text, safe_line, size_text

if TYPE_CHECKING:
    from tracker.upkeep.compact_summary import CompactProgress, CompactSummary

Place = Annotated[
    str | None, typer.Argument(metavar="STORE", help="The store. Default: that of the settings.", show_default=False)
]
Full = Annotated[bool, typer.Option("--full", help="Read every run anew, whatever the index says.", show_default=False)]
Dry = Annotated[bool, typer.Option("--dry-run", help="Show what would be done.", show_default=False)]
Grace = Annotated[
    float,
    typer.Option("--grace", metavar="SECONDS", min=0.0, help="How long replaced files stay for those who read them."),
]


def compact(
    place: Place = None,
    store: options.Store = None,
    full: Full = False,
    dry_run: Dry = False,
    grace_s: Grace = 3600.0,
    as_json: options.Json = False,
) -> int:
    """Merge what readers ask of all runs into few files.

    Listing many runs, and reading a metric of many, then takes requests for what is read and not for every run. Runs
    are only read; the index stands beside them in the folder index/, can be deleted at any moment, and never changes an
    answer: runs that are new, changed or go on are read themselves until the next time. Safe beside everything that
    writes or reads, and after a kill.

    JSON: {store, dry_run, runs, read, indexed, open, without_end, unreadable, gone, merged_batches, covered,
    written, written_bytes, removed, problems: {run: reason}, duration_s}.
    """
    import tracker

    with _progress() as advance:
        summary = tracker.compact(
            place if place is not None else store, full=full, dry_run=dry_run, grace_s=grace_s, on_progress=advance
        )
    _show(summary, as_json=as_json)
    return NOT_SO if summary.problems else OK


@contextmanager
def _progress() -> Iterator[Callable[[CompactProgress], None] | None]:
    """A bar at the terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("looking", total=None)

        def advance(progress: CompactProgress) -> None:
            bars.update(task, description=progress.step, completed=progress.done, total=progress.total or None)

        yield advance


def _show(summary: CompactSummary, *, as_json: bool) -> None:
    if as_json:
        import dataclasses

        from tracker.cli.forms import write_json

        write_json(dataclasses.asdict(summary))
        return
    for line in _lines(summary):
        print(line, flush=True)
    for run, reason in summary.problems.items():
        tell(safe_line(f"cannot be read: {run}: {reason}"))


def _lines(summary: CompactSummary) -> Iterator[str]:
    would = "would be " if summary.dry_run else ""
    if summary.indexed:
        yield f"{counted(summary.indexed, 'run')} of {summary.runs:,} {would}taken into the index of {summary.store}"
    else:
        yield f"the index of {summary.store} has all it can have of {counted(summary.runs, 'run')}"
    going_on = summary.open - summary.without_end - summary.unreadable
    if going_on:
        yield f"{counted(going_on, 'run')} cannot be, because they go on: readers read them themselves"
    if summary.without_end:
        why = "an attempt has no end or a journal waits; `hindsight recover` ends what was killed on this machine"
        yield f"{counted(summary.without_end, 'run')} cannot be, because {why}"
    if summary.unreadable:
        yield f"{counted(summary.unreadable, 'run')} cannot be, because their documents are damaged"
    if summary.gone:
        yield f"{counted(summary.gone, 'run')} {would}forgotten, which were removed"
    if summary.written or summary.removed:
        written = f"{counted(summary.written, 'file')} with {size_text(summary.written_bytes)} written"
        took = duration_text(summary.duration_s)
        yield f"{written}, {counted(summary.removed, 'file')} removed that were replaced ({took})"
