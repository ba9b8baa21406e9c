"""Scripts that a measured process starts in turn: fresh interpreters of the same environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.processes import end_group


class ScriptFailed(Exception):
    """A script ended with an exit code; the text is its last line on standard error."""


def run_script(name: str, text: str, *, folder: Path = Path()) -> None:
    """Write the script into the folder and run it to its end there."""
    (folder / name).write_text(text)
    done = subprocess.run([sys.executable, name], cwd=folder, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ScriptFailed(lines[-1] if lines else f"{name} ended with exit code {done.returncode}")


def exit_code(name: str, text: str, *, folder: Path, patience_s: float) -> int | None:
    """How the script ended, ``None`` when it did not within its time; nothing of it runs afterwards."""
    (folder / name).write_text(text)
    process = subprocess.Popen([sys.executable, name], cwd=folder, start_new_session=True)
    try:
        return process.wait(patience_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end_group(process.pid)
        process.wait()
