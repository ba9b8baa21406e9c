"""Alignment cases: an old version, a new one, and what is to come out."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tracker.replay import Propagation, propagate

CASES = sorted((Path(__file__).parent / "cases").iterdir())


def _files(case: Path, kind: str, path: str | None) -> dict[str, str]:
    single = case / f"{kind}.py"
    if path is not None:
        return {path: single.read_bytes().decode()} if single.exists() else {}
    folder = case / kind
    return {str(f.relative_to(folder)): f.read_bytes().decode() for f in sorted(folder.rglob("*.py"))}


def _run(case: Path) -> tuple[dict[str, Any], dict[str, str], dict[str, str], Propagation]:
    about = json.loads((case / "case.json").read_text())
    old, new = (_files(case, kind, about.get("path")) for kind in ("old", "new"))
    return about, old, new, propagate(old, new, about["names"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_statements_stand_where_they_should(case: Path) -> None:
    """The changed files are the expected ones, to the character; nothing else changes."""
    about, _, _, result = _run(case)

    assert result.sources == _files(case, "expected", about.get("path"))
    assert list(result.present) == about.get("present", [])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_doubtful_is_said(case: Path) -> None:
    """Every expected problem is reported, and no other."""
    about, _, _, result = _run(case)

    expected = about.get("problems", [])
    assert len(result.problems) == len(expected), [str(p) for p in result.problems]
    for problem, want in zip(result.problems, expected, strict=True):
        assert problem.placed is want["placed"]
        assert want["reason"] in problem.reason


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_asking_twice_adds_nothing(case: Path) -> None:
    """Propagating into the result changes nothing, and every result is Python."""
    about, old, new, result = _run(case)

    for text in result.sources.values():
        ast.parse(text)
    assert propagate({**old, **result.sources}, new, about["names"]).sources == {}
