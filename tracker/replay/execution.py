"""Running a recorded entry again, in a process of its own that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from tracker.record.replaying import Order
from tracker.replay import guard
from tracker.secrets import mask_text

TAIL_LINES = 50
_TAIL_BYTES = 64 << 10
_POLL_S = 0.02
_CHECK_S = 1.0
_CHECK_SHARE = 10  # a check that takes a second comes every ten seconds


@dataclass(frozen=True)
class Command:
    """What to start, where, and with which environment."""

    arguments: tuple[str, ...]
    folder: Path
    environment: dict[str, str]


@dataclass(frozen=True)
class Ending:
    """How the process ended: by itself with ``code``, stopped by a check, or at its time limit."""

    how: Literal["exited", "stopped", "timed out"]
    code: int | None = None


def write_order(path: Path, order: Order) -> None:
    """Put an order where only this user can read it: it may hold the options of a store."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.encode(order))


def execute(
    command: Command, output: Path, *, timeout_s: float | None = None, check: Callable[[], bool] | None = None
) -> Ending:
    """Run a command to its end; ``check`` is asked every second or so whether to stop it.

    Blocks. Standard input is empty, both outputs go to a file. When this returns or raises, the process and all that
    stayed in its group are gone; they also go when this process is killed.
    """
    with _started(command, output) as process:
        return _wait(process, timeout_s, check)


@contextmanager
def _started(command: Command, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, *command.arguments],
            cwd=command.folder,
            env=command.environment,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # Before it is reaped its number cannot belong to anybody else.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _wait(process: subprocess.Popen[bytes], timeout_s: float | None, check: Callable[[], bool] | None) -> Ending:
    began = time.monotonic()
    next_check = began + _CHECK_S
    while True:
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            return Ending("exited", ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status)
        now = time.monotonic()
        if timeout_s is not None and now - began >= timeout_s:
            return Ending("timed out")
        if check is not None and now >= next_check:
            if check():
                return Ending("stopped")
            done = time.monotonic()
            next_check = done + max(_CHECK_S, _CHECK_SHARE * (done - now))
        time.sleep(_POLL_S)


def last_lines(output: Path, count: int = TAIL_LINES) -> str:
    """The end of what the process wrote, secrets masked."""
    try:
        with output.open("rb") as file:
            file.seek(max(0, output.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return mask_text("\n".join(text.splitlines()[-count:]))
