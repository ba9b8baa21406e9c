"""From an error to one line on stderr and an exit code; the traceback only when it is asked for."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tracker.errors import Bug, HindsightError, InputError, NewerFormat, Unavailable

OK = 0
NOT_SO = 1
USAGE = 2
UNAVAILABLE = 3
BUG = 70
INTERRUPTED = 130

CODES_HELP = (
    "Exit codes: 0 done; 1 what was asked for is not there, not so or damaged; 2 wrong usage; "
    "3 the store cannot be used; 70 a fault of ours; 130 interrupted. `hindsight run` ends as its command does."
)

_debug = False


def set_debug(*, on: bool) -> None:
    """Whether tracebacks are shown from now on (``--debug``, or ``HINDSIGHT_DEBUG`` in the environment)."""
    global _debug
    _debug = on


def tell(text: str) -> None:
    """One line to the person at the terminal; never mixed into the output of a command."""
    if sys.stderr is not None:
        print(f"hindsight: {text}", file=sys.stderr)


def report(exc: Exception) -> int:
    """Tell about an error that ended a command, and give the exit code for it."""
    if _debug or os.environ.get("HINDSIGHT_DEBUG", "") not in {"", "0"}:
        traceback.print_exception(exc)
    if isinstance(exc, HindsightError) and not isinstance(exc, Bug):
        tell(_one_line(str(exc)))
        return exit_code(exc)
    if isinstance(exc, OSError):
        tell(_one_line(str(exc)))
        return NOT_SO
    tell(
        _one_line(f"this is a fault of Hindsight: {type(exc).__name__}: {exc}")
        + " (run it again with --debug and report what it shows)"
    )
    return BUG


def exit_code(exc: HindsightError) -> int:
    """What a script may do about an error, as a number.

    >>> from tracker.errors import RunNotFound, StoreUnavailable
    >>> exit_code(RunNotFound("no run")), exit_code(StoreUnavailable("no answer"))
    (1, 3)
    """
    if isinstance(exc, InputError):
        return USAGE
    return UNAVAILABLE if isinstance(exc, Unavailable | NewerFormat) else NOT_SO


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "failed without saying why"


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show each warning, such as that of a damaged segment, as a line of its own and once."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        tell(f"warning: {_one_line(str(message))}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        warnings.filterwarnings("once", category=UserWarning)
        yield
