"""``hindsight demo``, in full: three real trainings."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tracker
from tests.cli.calling import Call, Start
from tracker.cli import demo


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the output of one demo."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "tracker", "demo", "--out", "out"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "out", done.stdout


@pytest.mark.slow
def test_three_runs_are_recorded(shown: tuple[Path, str]) -> None:
    """Each training is a finished run with its arguments, every step, its code and its output."""
    runs = tracker.runs(store=shown[0] / "digits" / ".hindsight")

    assert sorted(run.arguments["lr"] for run in runs) == [0.01, 0.1, 1.0]
    assert {run.status for run in runs} == {"finished"}
    assert {run.code.dirty for run in runs if run.code} == {False}
    frame = tracker.dataframe("loss", store=shown[0] / "digits" / ".hindsight")
    assert len(frame) == 3 * 20 * 43
    assert all(run.summary["best_accuracy"] > 0.8 for run in runs)


@pytest.mark.slow
def test_what_is_shown(shown: tuple[Path, str]) -> None:
    """The table, the frame, the picture and the next steps are shown; the picture is a PNG of the stated size."""
    folder, out = shown

    assert "3 runs · project digits · script train.py" in out
    assert "first and last three of 2,640 rows" in out
    assert out.splitlines().count("…") == 1
    assert "hindsight show latest" in out
    head = (folder / "accuracy.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (1500, 675)


@pytest.mark.slow
def test_again_and_keep(shown: tuple[Path, str], start: Start) -> None:
    """``--keep`` adds to an earlier demo; the git repository has nothing of the runs in its status."""
    folder, _ = shown

    done = start("demo", "--out", folder, "--keep", "--json")

    document = json.loads(done.stdout)
    assert len(document["runs"]) == 6
    assert (document["rows"], document["picture"]) == (5280, str(folder / "accuracy.png"))
    status = subprocess.run(["git", "status", "--porcelain"], cwd=folder / "digits", capture_output=True, text=True)
    assert status.stdout == ""


def test_advice_finds_our_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a shell does not find our programs the advice begins with the line that lets it, and only there."""
    programs = Path(sys.executable).absolute().parent
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    line = demo._path_line()
    command = f"{line.strip()}; command -v hindsight"
    found = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout

    assert found == f"{programs / 'hindsight'}\n"
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    assert demo._path_line() == ""


def test_foreign_folder_is_not_replaced(hindsight: Call, tmp_path: Path) -> None:
    """A folder that no demo made is left as it is."""
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "thesis.txt").write_text("mine")

    ended = hindsight("demo", "--out", tmp_path)

    assert ended.code == 2
    assert "not of an earlier demo" in ended.err
    assert (tmp_path / "digits" / "thesis.txt").read_text() == "mine"


def test_missing_packages_are_named(hindsight: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scikit-learn the demo says which extra brings it, before it makes anything."""
    found = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> Any:
        return None if name == "sklearn" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)

    ended = hindsight("demo", "--out", tmp_path / "out")

    assert ended.code == 1
    assert "pip install 'hindsight-tracker[demo]'" in ended.err
    assert not (tmp_path / "out").exists()
