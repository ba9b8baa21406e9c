"""What goes into a snapshot is decided by names, sizes and budgets, and what does not is listed."""

from __future__ import annotations

import os
from pathlib import Path

from tracker.code.selection import Candidate, SnapshotSettings, choose, read_rules, shorten, show_path


def _candidates(top: Path, sizes: dict[str, int]) -> list[Candidate]:
    for name, size in sizes.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"0" * size)
    return [Candidate(name, os.lstat(top / name)) for name in sizes]


def test_budget_of_bytes(tmp_path: Path) -> None:
    """Small files follow after one that no longer fits."""
    left_out: dict[str, str] = {}
    rules = read_rules(SnapshotSettings(max_new_bytes=100), top=tmp_path, project=tmp_path)

    taken = choose(
        _candidates(tmp_path, {"a.bin": 60, "b.bin": 70, "c.bin": 20, "z/code.py": 10}),
        rules,
        top=tmp_path,
        left_out=left_out,
    )

    assert [each.path for each in taken] == ["z/code.py", "c.bin", "a.bin"]
    assert left_out == {"b.bin": "beyond 100 bytes of new files"}


def test_settings_are_stronger_than_ignore_files(tmp_path: Path) -> None:
    """Patterns of the settings speak of the project's folder and have the last word."""
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / ".hindsightignore").write_text("*.csv\n")
    (project / ".hindsightignore").write_text("!small.csv\n")
    settings = SnapshotSettings(include=("/wanted.csv",), exclude=("/small.csv",))

    rules = read_rules(settings, top=tmp_path, project=project)

    names = ["a.csv", "project/a.csv", "project/small.csv", "project/wanted.csv", "wanted.csv", "a.py"]
    assert [name for name in names if rules.reason(name) is None] == ["project/wanted.csv", "a.py"]
    assert rules.unwanted(names).keys() == {"a.csv", "project/a.csv", "project/small.csv", "wanted.csv"}


def test_long_lists_are_bounded_and_readable() -> None:
    """A document names some hundred paths and counts the rest; odd bytes are escaped."""
    shown = shorten({f"{number}\udcff": "large" for number in range(700)})

    assert len(shown) == 501
    assert shown["…"] == "and 200 more"
    assert show_path("a\udcff") == "a\\xff"
