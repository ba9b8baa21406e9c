"""One virtual environment per measured library, so that their dependencies never meet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.model import Subject
from harness.processes import PROJECT

_INSTALL_TIMEOUT_S = 600
_VERSIONS = """\
import json, sys
from importlib.metadata import PackageNotFoundError, version
def find(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
print(json.dumps({name: find(name) for name in sys.argv[1:]}))
"""


class InstallFailed(Exception):
    """A library cannot be installed here; the text is the installer's own last words."""


@dataclass(frozen=True)
class Environment:
    """An interpreter with one subject installed."""

    python: Path
    version: str


class Environments:
    """The environments below one folder; a library that is already there is not installed again."""

    def __init__(self, folder: Path, *, python: Path, ours: Path | None) -> None:
        self._folder = folder
        self._base = python
        self._ours = ours
        self._uv: list[str] | None = None

    def of(self, subject: Subject) -> Environment:
        """The environment of a subject, made when it is not there; ``InstallFailed`` says why it cannot be."""
        if subject.ours and self._ours:
            return Environment(self._ours, _version(self._ours, subject.distribution))
        if not subject.requirements and not subject.ours:
            return Environment(self._base, "")
        home = self._folder / subject.name
        python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if not python.exists():
            self._call([*self._installer(), "venv", "-q", "--python", str(self._base), str(home)])
        if subject.ours:
            self._install_ours(python, subject.distribution)
        elif not _version(python, subject.distribution):
            self._install(python, list(subject.requirements))
        return Environment(python, _version(python, subject.distribution))

    def add(self, python: Path, needs: tuple[str, ...]) -> None:
        """Install what trainings import, with ``pip``: it finds builds of the index that ``uv`` passes over."""
        missing = [need for need in needs if not _version(python, need.partition("==")[0])]
        if not missing:
            return
        if subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True).returncode:
            self._call([str(python), "-m", "ensurepip"])
        self._call([str(python), "-m", "pip", "install", "-q", *missing])

    def _install_ours(self, python: Path, distribution: str) -> None:
        """The checkout as it is, from a copy: building in place would leave files there, and take up stale ones."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            copy = Path(folder) / "project"
            left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "tests", "*-output")
            shutil.copytree(PROJECT, copy, ignore=left_out, symlinks=True)
            self._install(python, ["--reinstall-package", distribution, str(copy)])

    def _install(self, python: Path, what: list[str]) -> None:
        self._call([*self._installer(), "pip", "install", "-q", "--compile-bytecode", "--python", str(python), *what])

    def _installer(self) -> list[str]:
        """``uv`` from the path, else from an environment of its own."""
        if self._uv is None:
            found = shutil.which("uv")
            self._uv = [found] if found else self._own_uv()
        return self._uv

    def _own_uv(self) -> list[str]:
        home = self._folder / "uv"
        python = home / "bin" / "python"
        if not python.exists():
            self._call([str(self._base), "-m", "venv", str(home)])
        self._call([str(python), "-m", "pip", "install", "-q", "uv"])
        return [str(python), "-m", "uv"]

    def _call(self, command: list[str]) -> None:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, cwd=PROJECT)
        except (subprocess.TimeoutExpired, OSError) as exc:
            raise InstallFailed(f"{type(exc).__name__} while installing") from exc
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise InstallFailed(lines[-1][:200] if lines else f"{command[0]} ended with {done.returncode}")


def _version(python: Path, distribution: str) -> str:
    """The installed version, or an empty text."""
    done = subprocess.run([str(python), "-c", _VERSIONS, distribution], capture_output=True, text=True)
    versions: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
    return versions.get(distribution, "")


def base_python() -> Path:
    """The interpreter that runs the benchmarks, as the base of all environments."""
    return Path(sys.executable)
