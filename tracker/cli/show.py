"""``hindsight show``: everything that is known about one run."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli import options
from tracker.cli.failures import OK, tell
from tracker.cli.stores import open_for_reading

if TYPE_CHECKING:
    from tracker.read.catalog import RunView
    from tracker.read.output import Line

DEFAULT_LINES = 10


def show(
    run: options.Run = "latest",
    output: Annotated[
        bool, typer.Option("--output", help="Only what the run printed and logged, all of it.", show_default=False)
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, help="At most so many lines of output, the last.")
    ] = DEFAULT_LINES,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Show everything that is known about one run.

    Identity, attempts, arguments, results, loops with their timings, checkpoints and replays, code, environment,
    inputs, losses, error with its traceback, last lines of output. Times are local, in JSON they are UTC.

    JSON: what `runs --json` says of a run, and "store", "attempts": [{attempt, number, status, started, ended,
    start, code, end}] with the documents as the store has them, "checkpoints", "replays": [{replay, names, values,
    fidelity}], "output": {"lines": [{time, attempt, stream, level, text, context}], "total", "more"}.
    """
    from tracker.read import output as reading
    from tracker.read.catalog import find_run

    opened = open_for_reading(store)
    view = find_run(opened, run)
    captured = list(reading.output(opened, view))
    total = len(captured)
    captured = captured if output else captured[max(total - lines, 0) :]
    if as_json:
        _write_json(view, captured, total)
    elif output:
        _print_output(captured)
    else:
        from tracker.cli import show_sections

        show_sections.print_run(view)
        show_sections.print_output(view, captured, total)
    return OK


def _write_json(view: RunView, captured: list[Line], total: int) -> None:
    from tracker.cli.forms import attempt_form, run_form, write_json
    from tracker.cli.show_replay import find_later

    later = find_later(view)
    listed = [dataclasses.asdict(line) for line in captured]
    document = run_form(view) | {
        "store": view.store.url,
        "attempts": [attempt_form(attempt) for attempt in view.attempts],
        "checkpoints": later.checkpoints,
        "replays": list(later.replays),
        "output": {"lines": listed, "total": total, "more": total - len(listed)},
    }
    write_json(document)


def _print_output(captured: list[Line]) -> None:
    """The lines as they were, without the control characters that would steer a terminal."""
    from tracker.cli.console import console
    from tracker.cli.texts import safe_line

    if not captured:
        tell("nothing was captured of this run's output")
    write = console().file.write
    for line in captured:
        write(safe_line(line.text) + "\n")
