"""Runs a command, and ends it and its children when whoever asked for it has died.

Started by its path with ``-I -S`` as the leader of a session: it imports nothing but the standard library, so that it
costs milliseconds. Its standard input is a pipe that closes with the process that holds the other end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """The command's exit code; 128 and the number of the signal that ended it, as shells say it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_owner, daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _end_with_owner() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
