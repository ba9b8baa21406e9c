"""The environment of a run is built again: its Python, its packages, and this Hindsight."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tracker.code.packages import capture_packages
from tracker.errors import CodeError, DamagedDocument, NotFound
from tracker.replay.environments import recorded_python
from tracker.store.documents import Packages


def packages(**distributions: str) -> Packages:
    """What was recorded of a run of this interpreter with these packages."""
    here = capture_packages()
    return Packages(
        python=here.python, implementation=here.implementation, executable="python", distributions=distributions
    )


@pytest.mark.slow
def test_recorded_versions_are_installed(tmp_path: Path) -> None:
    """Others than here, and kept for the next slice; what stood in a folder that is gone is left out."""
    needed = ("msgspec", "blake3", "numpy", "pyarrow", "pandas", "fsspec", "psutil", "tenacity", "typer", "rich")
    here = capture_packages().distributions
    found = {name: here[name] for name in needed}
    wanted = packages(**found, tqdm="4.66.1", mine=f"1.0 @ file://{tmp_path}/gone")

    python = recorded_python(wanted, folder=tmp_path / "environments")
    shown = subprocess.run(
        [python, "-c", "import tqdm, tracker; tracker.log; print(tqdm.__version__)"], capture_output=True, text=True
    )

    assert shown.stdout == "4.66.1\n", shown.stderr
    before = python.stat().st_ino
    assert recorded_python(wanted, folder=tmp_path / "environments").stat().st_ino == before


@pytest.mark.slow
def test_a_version_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    """With what uv says, and with the way out; nothing half-built is used afterwards."""
    for _ in range(2):
        with pytest.raises(CodeError, match=r"tqdm.*--env current"):
            recorded_python(packages(tqdm="99.99"), folder=tmp_path)


def test_nothing_recorded_is_nothing_to_build() -> None:
    """Capturing packages can be switched off."""
    with pytest.raises(NotFound, match="were not captured"):
        recorded_python(None)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("--find-links=http://elsewhere", "1.0"),
        ("-r", "/etc/passwd"),
        ("numpy", "1.0\n--find-links http://elsewhere"),
        ("numpy", "1.0 @ https://elsewhere/x.whl\n-e ."),
        ("numpy @ https://elsewhere/x.whl #", "1"),
        ("numpy", ""),
    ],
)
def test_what_can_be_no_package_is_not_handed_to_an_installer(tmp_path: Path, name: str, version: str) -> None:
    """A store that somebody else wrote cannot slip options into the list of what is installed."""
    with pytest.raises(DamagedDocument, match="can be none"):
        recorded_python(packages(**{name: version}), folder=tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["/tmp/python", "--help", "", "3.11\n-x"])
def test_a_python_is_a_version_and_no_path(tmp_path: Path, version: str) -> None:
    """Nor an option."""
    said = Packages(python=version, implementation="CPython", executable="python", distributions={})
    with pytest.raises(DamagedDocument, match="can be none"):
        recorded_python(said, folder=tmp_path)
