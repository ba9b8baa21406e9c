"""The ``hindsight`` command: its list of commands, and how it begins and ends."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from tracker.cli import (
    checkout,
    checkpoints,
    compact,
    dataframe,
    demo,
    diff,
    doctor,
    gc,
    pin,
    recover,
    replay,
    rm,
    run,
    runs,
    show,
    sql,
    sync,
    tag,
    verify,
)
from tracker.cli.failures import CODES_HELP, INTERRUPTED, OK, USAGE, report, set_debug, tell, warnings_as_lines

Command = Callable[..., int]

_HELP = """Ask past training runs new questions.

The store is that of HINDSIGHT_STORE or [tool.hindsight] in pyproject.toml, else the folder .hindsight of the project;
--store URL names another.
"""


def _flowing(text: str) -> str:
    """A text for typer's help: paragraphs on one line each, because it keeps line ends, and no markup of rich's."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    return "\n\n".join(paragraphs).replace("[", "\\[")


app = typer.Typer(
    name="hindsight",
    help=_flowing(_HELP),
    epilog=CODES_HELP,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; this is the entry point of ``hindsight`` and of ``python -m tracker``.

    Errors are one line on stderr. A closed pipe ends the command quietly and counts as success, because its reader
    had what it wanted.
    """
    try:
        with warnings_as_lines():
            code = app(args=arguments, prog_name="hindsight", standalone_mode=False)
        return code if isinstance(code, int) else OK
    except (KeyboardInterrupt, typer.Abort):
        tell("interrupted")
        return INTERRUPTED
    except Exception as exc:  # noqa: BLE001  the last resort before a person would see a traceback
        return _usage(exc) if hasattr(exc, "format_message") else report(exc)


def _usage(exc: Any) -> int:
    """Tell what is wrong with the command line; ``exc`` is an error of typer's, whose class moves between versions."""
    context = getattr(exc, "ctx", None)
    path = context.command_path if context is not None else "hindsight"
    text = " ".join(exc.format_message().split()).rstrip(".")
    tell(f"{text}; `{path} --help` shows what can be given")
    return USAGE


def _close_quietly() -> None:
    """Point stdout to nowhere, so that the interpreter's own flush at exit does not complain again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@app.callback(invoke_without_command=True)
def _begin(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.")] = False,
) -> int:
    if version:
        from tracker import __version__

        print(f"hindsight {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        if text := context.get_help():  # typer with rich prints it itself
            print(text)
        raise typer.Exit(USAGE)
    return OK


def _with_debug(function: Command) -> Command:
    """The command with ``--debug`` behind its own options."""
    signature = inspect.signature(function, eval_str=True)
    option = typer.Option("--debug", help="Show the traceback of an error.", show_default=False)
    parameter = inspect.Parameter(
        "debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )

    @functools.wraps(function)
    def command(*args: Any, debug: bool = False, **kwargs: Any) -> int:
        set_debug(on=debug)
        try:
            code = function(*args, **kwargs)
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # caught here, because typer would end with 1
            _close_quietly()
            return OK

    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), parameter])  # type: ignore[attr-defined]
    return command


def _add(panel: str, name: str, function: Command, **settings: Any) -> None:
    text = _flowing(function.__doc__ or "")
    app.command(name, help=text, epilog=CODES_HELP, rich_help_panel=panel, **settings)(_with_debug(function))


_add("Look", "runs", runs.runs)
_add("Look", "show", show.show)
_add("Look", "dataframe", dataframe.dataframe)
_add("Look", "sql", sql.sql)
_add("Look", "checkpoints", checkpoints.checkpoints)
_add("Replay", "replay", replay.replay)
_add("Code", "diff", diff.diff)
_add("Code", "checkout", checkout.checkout)
_add("Record", "run", run.run, context_settings={"allow_interspersed_args": False})
_add("Record", "demo", demo.demo)
_add("Keep", "tag", tag.tag, context_settings=tag.CONTEXT)
_add("Keep", "pin", pin.pin)
_add("Keep", "unpin", pin.unpin)
_add("Keep", "rm", rm.rm)
_add("Keep", "gc", gc.gc)
_add("Care", "sync", sync.sync)
_add("Care", "compact", compact.compact)
_add("Care", "recover", recover.recover)
_add("Care", "verify", verify.verify)
_add("Care", "doctor", doctor.doctor)
