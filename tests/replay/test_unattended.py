"""What replays that nobody watches are asked, and what stays within their budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.code.conftest import Repo
from tracker.errors import InputError
from tracker.replay.documents import Plan, PlannedRun, Question, Slice
from tracker.replay.unattended import read_question, trim
from tracker.store.open import open_store


def plan() -> Plan:
    """Three runs of an hour each, two slices a run."""
    runs = tuple(PlannedRun(run=name, attempt="a") for name in "abc")
    slices = tuple(Slice(number=i, run="abc"[i // 2], estimate_s=1800.0) for i in range(6))
    return Plan(replay="r", created=0.0, question=Question(names=("x",)), workers=1, runs=runs, slices=slices)


@pytest.mark.parametrize(
    ("budget", "kept"),
    [({}, "abc"), ({"max_runs": 2}, "bc"), ({"max_cpu_hours": 1.5}, "c"), ({"max_cpu_hours": 0.5}, "")],
)
def test_the_latest_runs_that_fit_into_a_budget(budget: dict[str, float], kept: str) -> None:
    """Of a run all slices, or none; what is left out says why."""
    trimmed, left_out = trim(plan(), **budget)

    assert "".join(run.run for run in trimmed.runs if run.skipped is None) == kept
    assert {piece.run for piece in trimmed.slices} == set(kept)
    assert left_out == 3 - len(kept)
    assert all(str(run.skipped).startswith("left out by max_") for run in trimmed.runs if run.run not in kept)


def test_a_question_needs_a_repository() -> None:
    """What is missing is named, with where to set it."""
    with pytest.raises(InputError, match="hindsight_repository"):
        read_question(open_store("memory://no-repository"), {})


def test_metrics_that_differ_by_nature(tmp_path: Path) -> None:
    """As lines or between commas, as a form gives them."""
    repo = Repo(tmp_path / "project", commit=False)
    repo.write("train.py", "import tracker\ntracker.log('x', 1)\n")
    repo.commit("first")
    branch = repo.git("symbolic-ref", "--short", "HEAD").strip()
    params = {"names": "x", "ignore": "seconds, pid\nhost", "repository": str(repo.folder), "branch": branch}

    asked = read_question(open_store("memory://ignored"), params)

    assert asked is not None
    assert asked.question.ignored == ("host", "pid", "seconds")
