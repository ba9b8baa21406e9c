"""``hindsight sync``: what one store has and another lacks is copied."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli import options
from tracker.cli.failures import NOT_SO, OK, tell
from tracker.cli.texts import counted, duration_text, safe_line, size_text

if TYPE_CHECKING:
    from tracker.syncing.summary import Progress, Summary

_MOST_TOLD = 20

Source = Annotated[str, typer.Argument(metavar="SRC", help="The store to copy from.", show_default=False)]
Target = Annotated[
    str, typer.Argument(metavar="DST", help="The store to copy into; made where there is none.", show_default=False)
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Show what would be copied.", show_default=False)]
Delete = Annotated[
    bool,
    typer.Option(
        "--delete-local-after",
        help="Delete from SRC the runs that have ended, once every byte of them was read back from DST.",
        show_default=False,
    ),
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch", help="Go on, every few seconds, until interrupted; for runs that are going.", show_default=False
    ),
]
UntilEnded = Annotated[
    bool, typer.Option("--until-ended", help="With --watch: end after the last run has ended.", show_default=False)
]
Every = Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, help="With --watch: how often.")]
Full = Annotated[
    bool,
    typer.Option("--full", help="Compare everything, also what was copied before from here.", show_default=False),
]
Restore = Annotated[
    bool,
    typer.Option("--restore", help="Bring back the runs that were removed from DST.", show_default=False),
]
SourceOptions = Annotated[str | None, options.storage_options("--source-options", "SRC")]
TargetOptions = Annotated[str | None, options.storage_options("--target-options", "DST")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, max=256, help="Keys at a time. Default: 16, or 8 between folders.",
        show_default=False,
    ),
]  # fmt: skip


def sync(
    source: Source,
    target: Target,
    where: options.Where = None,
    runs: Annotated[
        str | None, typer.Option("--runs", metavar="EXPR", help="The same as --where.", show_default=False)
    ] = None,
    dry_run: Dry = False,
    delete_after: Delete = False,
    watch: Watch = False,
    until_ended: UntilEnded = False,
    every_s: Every = 5.0,
    full: Full = False,
    restore: Restore = False,
    threads: Threads = None,
    source_options: SourceOptions = None,
    target_options: TargetOptions = None,
    as_json: options.Json = False,
) -> int:
    """Copy what a store has and another one lacks.

    Stores are folders or URLs such as s3://bucket/prefix, in any combination. Only what is missing is copied, payloads
    before the documents that name them, and every object is compared with its hash. Runs may go on in SRC: what they
    have logged so far arrives, the rest comes the next time. Stopped or killed at any moment, the next call goes on.
    Copying in both directions merges two stores; nothing of either is lost.

    What SRC has lost or damaged is named, held back with all that needs it, and gives exit code 1; the rest is copied.

    JSON: {source, target, dry_run, complete, runs, changed: [run], live: [run], keys, size_bytes, counts: {category:
    keys}, sizes_bytes: {category: bytes}, removed, deleted_runs: [run], kept_runs: {run: reason}, left_out: {key:
    reason}, problems: {key: reason}, duration_s}; with --watch one such document for every round, each on a line.
    """
    from tracker.cli.stores import given_options

    ours, theirs = given_options(source_options), given_options(target_options)
    condition = " and ".join(f"({text})" for text in (where, runs) if text is not None) or None

    def once() -> Summary:
        import tracker

        with _progress() as advance:
            return tracker.sync(
                source,
                target,
                where=condition,
                source_options=ours,
                target_options=theirs,
                dry_run=dry_run,
                delete_after=delete_after,
                full=full,
                restore=restore,
                threads=threads,
                on_progress=advance,
            )

    summary = once()
    _show(summary, as_json=as_json)
    while watch and not (until_ended and not summary.live):
        time.sleep(every_s)
        found = once_more(once)
        if found is None:
            continue
        summary = found
        if as_json or summary.keys or summary.problems or (until_ended and not summary.live):
            _show(summary, as_json=as_json)
    return OK if summary.complete else NOT_SO


def once_more(once: Callable[[], Summary]) -> Summary | None:
    """A further round; ``None``, and told, when it could not be done now: a store is away, or the machine slept."""
    from tracker.errors import Conflict, Unavailable

    try:
        return once()
    except (Conflict, Unavailable) as exc:
        tell(f"{exc}; it is tried again")
        return None


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None] | None]:
    """A bar at the terminal with runs, keys, bytes and their rate; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        task = bars.add_task("looking", total=None)

        def advance(progress: Progress) -> None:
            text = f"{progress.runs:,} of {progress.runs_total:,} runs, {progress.keys:,} keys"
            bars.update(task, description=text, completed=progress.size_bytes, total=progress.total_bytes or None)

        yield advance


def _show(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        import dataclasses

        from tracker.cli.forms import write_json

        extra = {"complete": summary.complete, "keys": summary.keys, "size_bytes": summary.size_bytes}
        write_json(dataclasses.asdict(summary) | extra)
        return
    for line in _lines(summary):
        print(line, flush=True)
    for head, reasons in (
        ("held back", summary.problems),
        ("not copied", summary.left_out),
        ("kept", summary.kept_runs),
    ):
        for number, (key, reason) in enumerate(reasons.items()):
            if number == _MOST_TOLD:
                tell(f"{len(reasons) - number} more {head}: --json names all")
                break
            tell(safe_line(f"{head}: {key}: {reason}"))


def _lines(summary: Summary) -> Iterator[str]:
    """What was done, for people."""
    would = "would be " if summary.dry_run else ""
    rate = f", {size_text(summary.size_bytes / summary.duration_s)}/s" if summary.size_bytes else ""
    if summary.keys:
        kinds = ", ".join(counted(count, kind) for kind, count in sorted(summary.counts.items()))
        runs = f"{counted(len(summary.changed), 'run')} of {summary.runs:,}"
        size = f"{size_text(summary.size_bytes)} in {duration_text(summary.duration_s)}{rate}"
        yield f"{runs} {would}copied to {summary.target}: {kinds}; {size}"
    else:
        took = duration_text(summary.duration_s)
        yield f"{summary.target} has all of {counted(summary.runs, 'run')} already ({took})"
    if summary.live:
        yield f"{counted(len(summary.live), 'run')} still going: what comes later is copied the next time"
    if summary.deleted_runs:
        yield f"{counted(len(summary.deleted_runs), 'run')} deleted from {summary.source}"
    if not summary.complete:
        yield f"{counted(len(summary.problems), 'key')} held back"
