"""What is compared must be the same training, and what is timed must be answered."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from cases import old_runs, propagation
from harness.model import load_subject
from harness.scripts import ScriptFailed
from harness.trainings import Project, run, source_of, untracked

TRAININGS = ("adam", "large_state", "transformer")
SCRIPT = """\
import tracker

total = 0
with tracker.checkpointing(state=[total]):
    for epoch in tracker.loop("epoch", range(3)):
        for step in tracker.loop("step", range(2)):
            total += step
            tracker.log("total", total)
            # inner probe
print(total)
"""


@pytest.mark.parametrize("name", TRAININGS)
def test_an_untracked_script_knows_nothing_of_the_tracker(name: str) -> None:
    """It compiles, and differs by tracking alone: as many loops, no name of the tracker."""
    tracked, plain = ast.parse(source_of(name)), ast.parse(untracked(source_of(name)))

    assert "tracker" not in ast.unparse(plain)
    counts = [sum(isinstance(node, ast.For) for node in ast.walk(tree)) for tree in (tracked, plain)]
    assert counts[0] == counts[1] > 0


def test_an_untracked_script_computes_the_same(tmp_path: Path) -> None:
    """Without the statements of the tracker the program prints what it printed with them."""
    texts = (SCRIPT.replace("import tracker", "import tracker  # ours"), untracked(SCRIPT))
    environment = {"HINDSIGHT_STORE": str(tmp_path / "store")}
    prints = []
    for number, text in enumerate(texts):
        project = Project(tmp_path / str(number))
        project.commit(text)
        prints.append(run(["train.py"], folder=project.folder, environment=environment))

    assert prints == ["3\n", "3\n"]


def test_a_recorded_training_is_replayed(tmp_path: Path) -> None:
    """The probe stands where the mark was, and every value is there, exactly."""
    project = Project(tmp_path / "project")
    project.commit(SCRIPT)
    project.train(HINDSIGHT_CHECKPOINTS="all")
    project.add('tracker.log("square", total**2)', at="inner probe")

    replayed = project.replay("square", "--workers", "1")

    assert '            tracker.log("square"' in (project.folder / "train.py").read_text()
    assert (replayed.exact, replayed.values, replayed.problem()) == (1, 6, "")
    assert 0 < replayed.slices_s < replayed.command_s


def test_a_script_that_fails_says_why(tmp_path: Path) -> None:
    """The line that names the error becomes the remark of the table."""
    project = Project(tmp_path / "project")
    project.commit("print('fine')\nraise ValueError('no data')\n")

    with pytest.raises(ScriptFailed, match="ValueError: no data"):
        project.train()


@pytest.mark.parametrize("lines", [50, 200, 500])
def test_versions_for_propagation_have_the_length_that_the_row_states(lines: int) -> None:
    """Within a twentieth, and each new version differs from its old one by more than the statement."""
    for old, new in propagation._pairs(lines, 3):
        assert abs(len(new.splitlines()) - lines) <= max(10, lines / 20)
        assert new.count("tracker.log") == old.count("tracker.log") + 1
        assert '.log("norm"' in propagation._propagate(old, new) or ".log('norm'" in propagation._propagate(old, new)


@pytest.mark.parametrize("library", ["hindsight", "flordb"])
def test_small_runs_have_the_place_of_the_probe(library: str) -> None:
    """The demo's scripts, in the words of either library; the probe fits into the newest, and gives a program."""
    subject = load_subject(library)
    texts = [old_runs._source(subject, version) for version in old_runs._VERSIONS]
    place, probe = old_runs._words(subject, old_runs._PLACE), old_runs._words(subject, old_runs._PROBE)

    assert all(f'"epochs", {old_runs._EPOCHS})' in text for text in texts)
    assert texts[-1].count(place) == 1
    compile(texts[-1].replace(place, place + probe), "train.py", "exec")


def test_what_trainings_need_is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an environment has already is not installed again."""
    from harness import environments

    calls: list[list[str]] = []
    makers = environments.Environments(tmp_path, python=Path(sys.executable), ours=None)
    monkeypatch.setattr(makers, "_call", calls.append)
    installed = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0

    makers.add(Path(sys.executable), ("pytest",))
    assert calls == []
    makers.add(Path(sys.executable), ("pytest", "no-such-package==1.0"))
    assert calls[-1][-1] == "no-such-package==1.0"
    assert len(calls) == (1 if installed else 2)
