"""What tests of the command line call and get."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Started = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON document; a number that JSON does not have is an error."""
        return json.loads(self.out, parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


Call = Callable[..., Ended]
Start = Callable[..., Started]


def on_terminal(*words: str, **environment: str) -> str:
    """What the command shows at a real (pseudo-)terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tracker", *words]
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}}
    process = subprocess.Popen(command, stdout=theirs, env=kept | {"TERM": "xterm"} | environment)
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # the other end is closed: the command has ended
        pass
    os.close(ours)
    assert process.wait(60) == 0
    return shown.decode()


def typed_at_terminal(*words: str, cwd: Path, answer: str = "", columns: int = 80) -> Ended:
    """What a person sees in the end who starts the command at a terminal and types an answer; without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    os.write(ours, answer.encode())
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    command = [sys.executable, "-m", "tracker", *words]
    with subprocess.Popen(
        command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env=kept | {"TERM": "xterm", "NO_COLOR": "1"}
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed: the command has ended
            while data := os.read(ours, 65536):
                shown += data
    os.close(ours)
    return Ended(process.returncode, _last_drawn(shown.decode()), "")


def _last_drawn(text: str) -> str:
    """The lines as they stood at the end: the cursor goes up, and lines are erased, when bars are drawn anew."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if token == "\n":
            row += 1
            lines += [""] * (row >= len(lines))
        elif token.endswith("A") and token.startswith("\x1b"):
            row -= int(token[2:-1] or 1)
        elif token.endswith("K") and token.startswith("\x1b"):
            lines[row] = ""
        elif not token.startswith(("\x1b", "\r")):
            lines[row] += token
    return "\n".join(line.rstrip() for line in lines)
