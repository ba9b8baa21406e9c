"""``hindsight verify``: whether a store still holds what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli import completion, options
from tracker.cli.failures import NOT_SO, OK
from tracker.cli.stores import given_options, open_for_reading

if TYPE_CHECKING:
    from tracker.store.base import Info
    from tracker.store.verify import Report
    from tracker.upkeep.repair import Repaired

DEFAULT_LIMIT = 50


def verify(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Only this run, its code and checkpoints: its id, a unique beginning or end of it, or latest.",
            autocompletion=completion.run_ids,
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=0, help="At most so many problems; 0 for all.")
    ] = DEFAULT_LIMIT,
    repair_from: Annotated[
        str | None,
        typer.Option(
            "--repair-from",
            metavar="URL",
            help="Fetch what is missing or damaged from another store that has it.",
            show_default=False,
        ),
    ] = None,
    other_options: Annotated[
        str | None, options.storage_options("--other-options", "the store of --repair-from")
    ] = None,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Read a store, byte by byte, and name what is missing or damaged.

    Every document is parsed, every segment read, every object hashed, every reference followed, and what an attempt
    counted at its end is compared with what its segments hold. Nothing is written, and runs may go on meanwhile. Exit
    code 1 when something is missing, damaged or of a newer version. Told, and no harm: orphaned (nothing needs it),
    unknown (no key of ours), unfinished (an attempt without an end or a sign of life; its end was lost, or is not
    copied yet).

    With --repair-from each such key, and what else the other store has of the ended attempts here, is read from there,
    checked in the same way, and only then written; then the store is read once more. Exit code 1 when something is left
    that could not be repaired.

    JSON: {store, run, ok, counts: {category: keys}, sizes_bytes: {category: bytes}, problems: [{kind, key, detail,
    size_bytes}], total, more}; kind is missing, damaged, newer, orphaned, unfinished or unknown. With --repair-from
    also {source, repaired: [key], unrepaired: {key: reason}}.
    """
    from tracker.code.verification import check_snapshot
    from tracker.read.catalog import resolve_id
    from tracker.replay.kinds import ALL_KINDS
    from tracker.store.verify import verify as read_all

    opened = open_for_reading(store)
    chosen = None if run is None else resolve_id(opened, run)
    check_code = partial(check_snapshot, objects=False)
    found: Repaired | None = None
    with _progress() as advance:
        if repair_from is None:
            report = read_all(opened, chosen, on_key=advance, check_code=check_code, kinds=ALL_KINDS)
        else:
            from tracker.upkeep.repair import repair

            other = open_for_reading(repair_from, given_options(other_options))
            found = repair(opened, other, chosen, check_code=check_code, on_key=advance)
            assert found.report is not None
            report = found.report
    if as_json:
        _write_json(report, chosen, limit, found)
    else:
        _print(report, limit)
        _print_repair(found, limit)
    return OK if report.ok else NOT_SO


@contextmanager
def _progress() -> Iterator[Callable[[Info], None] | None]:
    """A line at the terminal that counts what was read; nothing elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    keys = size_bytes = 0
    with console.status("reading") as status:

        def advance(info: Info) -> None:
            nonlocal keys, size_bytes
            from tracker.cli.texts import counted, size_text

            keys, size_bytes = keys + 1, size_bytes + info.size_bytes
            status.update(f"read {counted(keys, 'key')}, {size_text(size_bytes)}")

        yield advance


def _write_json(report: Report, run: str | None, limit: int, found: Repaired | None) -> None:
    import dataclasses

    from tracker.cli.forms import write_json

    shown = report.problems[: limit or None]
    document = {"store": report.url, "run": run, "ok": report.ok}
    sizes = {"counts": report.counts, "sizes_bytes": report.sizes_bytes}
    problems = [dataclasses.asdict(problem) for problem in shown]
    total = len(report.problems)
    told = {"problems": problems, "total": total, "more": total - len(shown)}
    if found is not None:
        told |= {"source": found.source, "repaired": found.repaired, "unrepaired": found.unrepaired}
    write_json(document | sizes | told)


def _print_repair(found: Repaired | None, limit: int) -> None:
    from tracker.cli.console import say
    from tracker.cli.texts import counted, safe_line, size_text

    if found is None:
        return
    for key in found.repaired[: limit or None]:
        say(safe_line(f"repaired: {key}"), "green")
    if found.repaired:
        say(f"{counted(len(found.repaired), 'key')} repaired from {found.source}, {size_text(found.size_bytes)}")
    for key, reason in list(found.unrepaired.items())[: limit or None]:
        say(safe_line(f"not repaired: {key}: {reason}"), "red")


def _print(report: Report, limit: int) -> None:
    from tracker.cli.console import Column, print_table, say
    from tracker.cli.texts import counted, safe_line, size_text

    categories = sorted(report.counts)
    say(report.url, "bold")
    print_table(
        [
            Column("  what", [f"  {category}" for category in categories]),
            Column("keys", [f"{report.counts[category]:,}" for category in categories], right=True),
            Column("size", [size_text(report.sizes_bytes[category]) for category in categories], right=True),
        ]
    )
    shown = report.problems[: limit or None]
    for problem in shown:
        colour = "red" if problem.is_serious else "yellow"
        say(safe_line(f"{problem.kind}: {problem.key}: {problem.detail}"), colour)
    if len(report.problems) > len(shown):
        say(f"{len(report.problems) - len(shown)} more: --limit 0 shows all", "dim")
    if report.ok:
        harmless = f", {counted(len(report.problems), 'harmless key')} told above" if report.problems else ""
        is_all = not any(problem.kind == "unfinished" for problem in report.problems)
        say(f"{'everything is there and' if is_all else 'what is there is'} as it was written{harmless}", "green")
    else:
        say(f"{counted(len(report.problems), 'problem')}", "red")
