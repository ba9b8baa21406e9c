"""The environment that a run was recorded in, built again with uv: its Python and the very versions of its packages."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from blake3 import blake3

import tracker
from tracker.errors import CodeError, DamagedDocument, MissingExtra, NotFound
from tracker.store.documents import Packages

_OURS = "hindsight-tracker"
_READY = "hindsight-ready"  # a file in a finished environment
_TAIL_LINES = 8
# What the store says becomes lines of a file of requirements, in which a line may also be an option.
_NAME, _VERSION = re.compile(r"[A-Za-z0-9][\w.-]*"), re.compile(r"[A-Za-z0-9][\w.!+-]*")
_ORIGIN = re.compile(r"[\w+.-]+:[^\s;]*")


def recorded_python(packages: Packages | None, *, folder: Path | None = None) -> Path:
    """The interpreter of an environment with these packages; built where this machine has none yet, which may take
    minutes and needs uv and a package index.

    Environments are kept in ``folder`` (default: the user's cache), one for each set of packages; two processes that
    want the same one build it once, and one that is killed leaves nothing that another takes for finished. Hindsight
    itself is installed as it is here. ``CodeError`` with uv's own words when a version cannot be had.
    """
    if packages is None:
        raise NotFound("the packages of the run were not captured, so its environment cannot be built again")
    if not _VERSION.fullmatch(packages.python) or not packages.python[0].isdigit():
        raise DamagedDocument(f"the run says that it had the Python {packages.python!r}: that can be none")
    lines = list(_requirements(packages))
    name = blake3("\n".join([packages.implementation, packages.python, *lines]).encode()).hexdigest()[:16]
    home = (folder or _cache()) / name
    with _locked(home):
        if not (home / _READY).exists():
            _build(home, packages, lines)
    return _interpreter(home)


def _requirements(packages: Packages) -> Iterator[str]:
    """What is to be installed, a line each; a build for one machine (``+cpu``) is asked for by its plain version."""
    for name, version in sorted(packages.distributions.items()):
        plain, _, origin = version.partition(" @ ")
        if not (_NAME.fullmatch(name) and _VERSION.fullmatch(plain) and (not origin or _ORIGIN.fullmatch(origin))):
            raise DamagedDocument(f"the run says that it had the package {name!r} {version!r}: that can be none")
        if name == _OURS:
            continue
        if not origin:
            yield f"{name}=={plain.partition('+')[0]}"
        elif not origin.startswith("file:"):
            yield f"{name} @ {origin}"
        elif Path(unquote(urlsplit(origin).path)).exists():
            yield f"{name} @ {origin}"  # else it is the project itself, most often, whose code the replay has


def _build(home: Path, packages: Packages, lines: list[str]) -> None:
    if home.exists():
        shutil.rmtree(home)  # a build that was killed
    uv, version = _uv(), packages.python
    try:
        _run([*uv, "venv", "--quiet", "--python", version, str(home)], f"Python {version} cannot be had")
    except CodeError:
        minor = ".".join(version.split(".")[:2])  # the same minor version runs the same packages
        _run([*uv, "venv", "--quiet", "--clear", "--python", minor, str(home)], f"Python {minor} cannot be had")
    install = [*uv, "pip", "install", "--quiet", "--python", str(_interpreter(home))]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        _run([*install, "--no-deps", "--requirement", file.name], "the recorded packages cannot be installed")
    _run([*install, *_ourselves()], "Hindsight cannot be installed beside the recorded packages")
    (home / _READY).touch()


def _ourselves() -> list[str]:
    """This very Hindsight: the checkout that it runs from, or its version."""
    checkout = Path(tracker.__file__).parents[1]
    if (checkout / "pyproject.toml").exists():
        return ["--editable", str(checkout)]
    return [f"{_OURS}=={tracker.__version__}"]


def _run(command: list[str], problem: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = " ".join("\n".join(done.stderr.strip().splitlines()[-_TAIL_LINES:]).split())
        raise CodeError(f"{problem}: {said}; replay in the environment of today with --env current")


def _uv() -> list[str]:
    beside = Path(sys.executable).with_name("uv")
    if beside.exists():
        return [str(beside)]
    if find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    if found := shutil.which("uv"):
        return [found]
    raise MissingExtra("--env recorded builds environments with uv; install it with: pip install uv")


def _interpreter(home: Path) -> Path:
    return home / "bin" / "python"


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "hindsight" / "environments"


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(home.with_suffix(".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
