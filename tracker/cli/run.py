"""``hindsight run``: a command with arguments for ``tracker.arg``."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tracker.cli import options
from tracker.errors import InputError

NOT_FOUND = 127  # what a shell says
NOT_EXECUTABLE = 126


def run(
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND", help="The command and its own options.", show_default=False)
    ],
    argument: Annotated[
        list[str] | None,
        typer.Option("--arg", "-a", metavar="NAME=VALUE", help="A value for tracker.arg(NAME).", show_default=False),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="A name for the run.", show_default=False)
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", "-p", metavar="NAME", help="The project of the run.", show_default=False)
    ] = None,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Run a command with values for its arguments.

    hindsight run -a lr=5e-4 -a batch_size=64 -- python train.py

    The values reach tracker.arg() through HINDSIGHT_KWARGS; a script's own options stay its own. The command
    records itself, by `import tracker`; one that does not is simply run. This process becomes the command, so
    signals, the terminal and the exit code are the command's: a shell sees 128+n after signal n, 127 when there is
    no such command, 126 when it cannot be executed.

    JSON, on stderr before the command starts: {"command": [...], "variables": {name: value}}, the variables that
    are set for it.
    """
    variables = _variables(argument or [], name, project, store)
    if as_json:
        print(json.dumps({"command": command, "variables": variables}, ensure_ascii=False), file=sys.stderr)
    return _become(command, os.environ | variables)


def _variables(arguments: Sequence[str], name: str | None, project: str | None, store: str | None) -> dict[str, str]:
    """What is set for the command, on top of what is set already."""
    values = _outer_arguments()
    for text in arguments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InputError(f"-a {text!r} is no argument: expected NAME=VALUE, such as -a lr=5e-4")
        values[key.strip()] = value
    found = {"HINDSIGHT_KWARGS": json.dumps(values, ensure_ascii=False)} if values else {}
    if store is not None and "://" not in store and "::" not in store and not store.startswith("file:"):
        store = os.path.abspath(os.path.expanduser(store))  # the command may change its folder
    named = {"HINDSIGHT_NAME": name, "HINDSIGHT_PROJECT": project, "HINDSIGHT_STORE": store}
    return found | {variable: value for variable, value in named.items() if value is not None}


def _outer_arguments() -> dict[str, object]:
    """The values that are set already, by a ``hindsight run`` around this one."""
    text = os.environ.get("HINDSIGHT_KWARGS") or "{}"
    try:
        values = json.loads(text)
    except ValueError as exc:
        raise InputError(f"HINDSIGHT_KWARGS is {text!r}, which is not JSON ({exc}): unset or mend it") from exc
    if not isinstance(values, dict):
        raise InputError(f"HINDSIGHT_KWARGS is {text!r}: expected a JSON object; unset or mend it")
    return values


def _become(command: Sequence[str], environment: dict[str, str]) -> int:
    """Replace this process by the command; returns only when that fails.

    A process in between would have to pass on every signal, and would pass those of the terminal on twice.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    for ignored in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and the command would inherit that
        if hasattr(signal, ignored):
            signal.signal(getattr(signal, ignored), signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), environment)
    except OSError as exc:
        hint = (
            f"; for a Python script write: hindsight run -- python {command[0]}" if command[0].endswith(".py") else ""
        )
        print(f"hindsight: {command[0]!r} cannot be run: {exc.strerror}{hint}", file=sys.stderr)
        return NOT_FOUND if isinstance(exc, FileNotFoundError | NotADirectoryError) else NOT_EXECUTABLE
