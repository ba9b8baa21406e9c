"""``hindsight diff``: in what two runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.cli import options
from tracker.cli.failures import NOT_SO, OK, tell
from tracker.cli.stores import open_for_reading

if TYPE_CHECKING:
    from tracker.code.diff import Change, RunDifference, RunFacts
    from tracker.read.catalog import RunView

_MOST = 40
_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan", "d": "bold"}


def diff(
    old: options.Old,
    new: options.New,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 1 when the runs differ, as git diff does.", show_default=False)
    ] = False,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Show in what two runs differ.

    Arguments, command line, code as a unified diff, packages, environment variables and host. The store alone is
    enough; the runs may be of different machines and repositories.

    JSON: {old, new, same, code: {same, text, old_head, new_head, problem}, arguments, entry, packages, environment,
    host}; code.same is null where a run has no snapshot, and problem says why; the others are lists of {name, old,
    new, only_in}, where only_in names the run that alone has it.
    """
    from tracker.code.diff import diff_runs
    from tracker.read.catalog import find_run

    opened = open_for_reading(store)
    views = [find_run(opened, text) for text in (old, new)]
    found = diff_runs(opened, *(_facts(view) for view in views))
    if as_json:
        _write_json(found)
    else:
        _print(found, views)
    return NOT_SO if exit_code and found else OK


def _facts(view: RunView) -> RunFacts:
    from tracker.code.diff import RunFacts

    return RunFacts(run=view.run, start=view.start, code=view.code, arguments=view.arguments)


def _write_json(found: RunDifference) -> None:
    import msgspec

    from tracker.cli.forms import write_json

    parts: dict[str, Any] = {name: getattr(found, name) for name in _parts()}
    listed = {name: [msgspec.structs.asdict(change) for change in changes] for name, changes in parts.items()}
    write_json(
        {"old": found.old, "new": found.new, "same": not found, "code": msgspec.structs.asdict(found.code)} | listed
    )


def _parts() -> tuple[str, ...]:
    return ("arguments", "entry", "packages", "environment", "host")


def _print(found: RunDifference, views: Sequence[RunView]) -> None:
    from tracker.cli.console import say, title
    from tracker.cli.texts import local_time, zone_name

    for sign, style, view in zip("-+", ("red", "green"), views, strict=True):
        say(
            f"{sign} run {view.short} of {view.project}, {local_time(view.started)} {zone_name()}, {view.status}", style
        )
    heads = {"entry": "command line", "environment": "environment variables"}
    for name in _parts():
        changes = getattr(found, name)
        if changes:
            title(heads.get(name, name))
            _print_changes(changes)
    if found.code.problem:
        tell(f"the code cannot be compared: {found.code.problem}")
    elif found.code.text:
        title("code")
        print_code(found.code.text)
    if not found:
        say("the same code, arguments, command line, packages, environment and host")


def _print_changes(changes: Sequence[Change]) -> None:
    from tracker.cli.console import Column, print_table, say
    from tracker.cli.texts import counted, shorten, value_text

    shown = changes[:_MOST]
    print_table(
        [
            Column("", [f"  {shorten(change.name, 40)}" for change in shown]),
            Column("-", ["" if change.only_in == "new" else value_text(change.old, 40) for change in shown]),
            Column("+", ["" if change.only_in == "old" else value_text(change.new, 40) for change in shown]),
        ]
    )
    if len(changes) > _MOST:
        say(f"  … {counted(len(changes) - _MOST, 'further difference')}: --json has all", "dim")


def print_code(text: str) -> None:
    """A unified diff, in colours."""
    from tracker.cli.console import say
    from tracker.cli.texts import safe_line

    for line in text.splitlines():
        is_name = line.startswith(("+++ ", "--- "))
        say(safe_line(line), "bold" if is_name else _DIFF_STYLES.get(line[:1], ""))
