"""The examples in the docstrings say what happens."""

from __future__ import annotations

import doctest
import secrets
from importlib import import_module
from pathlib import Path

import pytest

import tracker

ROOT = Path(__file__).parents[1]
PACKAGES = {"tracker": "tracker", "decorators": "tracker.decorators", "operators": "tracker.operators"}
MODULES = sorted(
    ".".join((package, *path.relative_to(ROOT / room).with_suffix("").parts))
    for room, package in PACKAGES.items()
    for path in (ROOT / room).rglob("*.py")
    if "\n    >>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody reads them, from the top."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HINDSIGHT_STORE", f"memory://{secrets.token_hex(8)}")
    try:
        found = doctest.testmod(import_module(name))
    finally:
        tracker.finish()

    assert found.attempted > 0
    assert found.failed == 0
