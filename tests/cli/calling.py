"""What tests of the command line call and get."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
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
