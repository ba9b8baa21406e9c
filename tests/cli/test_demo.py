"""``hindsight demo``, in full: three real trainings at three commits, and a replay of all of them."""

from __future__ import annotations

import importlib.util
import json
import re
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
def test_three_commits_are_recorded(shown: tuple[Path, str]) -> None:
    """Each training is a finished run of a commit of its own, with its arguments, every step, and checkpoints."""
    store = shown[0] / "digits" / ".hindsight"
    runs = tracker.runs(store=store)

    assert sorted(runs[0].arguments) == ["batch_size", "copies", "epochs", "hidden", "lr", "seed"]
    assert ["momentum" in run.arguments for run in runs] == [False, True, True]
    assert ["decay" in run.arguments for run in runs] == [False, False, True]
    assert {run.status for run in runs} == {"finished"}
    assert {run.code.dirty for run in runs if run.code} == {False}
    assert len({run.code.head for run in runs if run.code}) == 3
    assert len(tracker.dataframe("loss", store=store)) == 3 * 25 * 1750
    assert tracker.load_checkpoint(runs[0].run, store=store)["net"]["w1"].shape == (64, 256)


@pytest.mark.slow
def test_all_three_answer_exactly(shown: tuple[Path, str]) -> None:
    """Every epoch of every run has the metric that none of them logged, beside what it had; the repository is clean."""
    project = shown[0] / "digits"
    frame = tracker.dataframe("accuracy", "worst_digit", "fidelity", store=project / ".hindsight")

    assert len(frame) == 3 * 25
    assert set(frame["fidelity"]) == {"exact"}
    assert (frame["worst_digit"] <= frame["accuracy"]).all()
    status = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True)
    assert status.stdout == " M train.py\n"


@pytest.mark.slow
def test_what_is_shown(shown: tuple[Path, str]) -> None:
    """The new lines, the results with their times, old and new values, the picture and the next steps."""
    _, out = shown

    for text in (
        '  + tracker.log("worst_digit", min(recalls))\n',
        "$ hindsight replay worst_digit --yes\n",
        '>>> tracker.dataframe("accuracy", "worst_digit", "fidelity")\n',
        "the last two of the 25 epochs of each run",
        "old and new as a picture: out/accuracy.png\n",
        "  cd out/digits\n",
    ):
        assert text in out
    assert re.search(r"^replayed in \d.*; running them in full took \d.*$", out, re.MULTILINE)
    assert out.count("  exact  ") == 3
    assert out.count("    exact\n") == 6


@pytest.mark.slow
def test_the_picture(shown: tuple[Path, str]) -> None:
    """A PNG of the stated size."""
    head = (shown[0] / "accuracy.png").read_bytes()[:24]

    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (1500, 675)


@pytest.mark.slow
def test_nothing_is_left_to_ask(shown: tuple[Path, str], start: Start) -> None:
    """The next steps that are shown work: asking again finds all answered, verify finds all sound."""
    project = shown[0] / "digits"

    assert start("replay", "worst_digit", "--dry-run", cwd=project).returncode == 0
    assert "  checkpoints  2" in start("show", "latest", cwd=project).stdout
    assert json.loads(start("verify", "--json", cwd=project).stdout)["problems"] == []


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
