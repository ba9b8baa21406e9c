"""Running git plumbing, shut off from the user's hooks, prompts and ``GIT_*`` environment.

A plain ``subprocess`` and not GitPython: importing that costs 190 ms, which at the start of a run is three times the
whole snapshot, and it cannot take ``GIT_DIR`` or ``GIT_CONFIG_COUNT`` out of the environment of what it starts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO

from tracker.errors import CodeError
from tracker.secrets import mask_text

TIMEOUT_S = 600.0
# What no command of ours may do: run a hook, start a monitor, write a reflog, refuse a line ending, collect garbage.
_QUIET = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.logAllRefUpdates=false"),
    *("-c", "core.splitIndex=false"),
    *("-c", "core.safecrlf=false"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "advice.addEmbeddedRepo=false"),
)
_LOGIN = ("GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS")
_SETTINGS = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "LC_ALL": "C",
    "LANGUAGE": "",
}


@lru_cache(maxsize=1)
def git_program() -> str | None:
    """The git executable of this machine, or ``None``."""
    return shutil.which("git")


def clean_environment(extra: Mapping[str, str] = {}) -> dict[str, str]:
    """The environment for git: ours without any ``GIT_*`` of the caller, plus ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, **_SETTINGS, **extra}


def login_environment() -> dict[str, str]:
    """What people set so that git can log in at an address; everything else of ``GIT_*`` stays away from ours."""
    return {name: os.environ[name] for name in _LOGIN if name in os.environ}


@dataclass(frozen=True)
class Git:
    """A way to run git commands in one folder with one environment; safe in threads."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _full_environment(self) -> dict[bytes, bytes]:
        """As bytes, and once for all commands: with many variables this costs as much as starting git."""
        return {os.fsencode(name): os.fsencode(value) for name, value in clean_environment(self.environment).items()}

    def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Standard output of a git command; ``CodeError`` with git's own words when it fails."""
        with self.start(*arguments) as running:
            return running.finish(stdin)

    def run_into(self, file: IO[bytes], *arguments: str, stdin: bytes = b"") -> None:
        """Like ``run``, but standard output goes straight into an open file."""
        with self.start(*arguments, stdout=file) as running:
            running.finish(stdin)

    def text(self, *arguments: str, stdin: bytes = b"") -> str:
        """Standard output as text, without the last line's end."""
        return os.fsdecode(self.run(*arguments, stdin=stdin)).rstrip("\n")

    def succeeds(self, *arguments: str, stdin: bytes = b"") -> bool:
        """Whether a git command exits with zero."""
        try:
            self.run(*arguments, stdin=stdin)
        except CodeError:
            return False
        return True

    def start(self, *arguments: str, stdout: int | IO[bytes] = subprocess.PIPE) -> Running:
        """Start a git command that goes on beside the caller; ``finish`` collects it."""
        program = git_program()
        if program is None:
            raise CodeError("git is not installed or not on PATH: install git to use snapshots of repositories")
        try:
            process = subprocess.Popen(
                [program, *_QUIET, *arguments],
                cwd=self.folder,
                env=self._full_environment,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the user's program, and git would die halfway
            )
        except OSError as exc:
            raise CodeError(f"git could not be started in {self.folder}: {exc}") from exc
        return Running(process, arguments)


@dataclass(frozen=True)
class Running:
    """A git command that has been started."""

    process: subprocess.Popen[bytes]
    arguments: Sequence[str]

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        with self.process:  # closes the pipes of a command that nobody finished
            pass

    def finish(self, stdin: bytes = b"") -> bytes:
        """Wait for the end and return standard output; ``CodeError`` when the command failed."""
        try:
            output, errors = self.process.communicate(stdin or None, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as exc:
            self.process.kill()
            self.process.communicate()
            raise CodeError(f"{self.command} did not end within {TIMEOUT_S:.0f} s and was stopped") from exc
        if self.process.returncode != 0:
            said = (
                mask_text(errors.decode("utf-8", "backslashreplace").strip()) or f"exit code {self.process.returncode}"
            )
            raise CodeError(f"{self.command} failed: {said[-2000:]}")
        return output

    @property
    def command(self) -> str:
        return mask_text(f"git {' '.join(self.arguments)}")[:200]
