"""Forked children in tests."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections.abc import Callable


def fork() -> int:
    """``os.fork`` also in a process with threads, as users do it; the warning of newer Pythons is kept out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def run_in_child(action: Callable[[], int | None]) -> int:
    """Exit code of a forked child that runs an action: what it returns, or 1 when it raises."""
    child = fork()
    if child == 0:
        code = 1
        try:
            code = action() or 0
        except BaseException:  # noqa: BLE001  a child must never go on with the tests of its parent
            traceback.print_exc()
        finally:
            os._exit(code)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except BaseException:  # the test ran out of time: leave no child behind
        kill(child)
        raise


def kill(child: int) -> None:
    """SIGKILL a child and wait for it."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
