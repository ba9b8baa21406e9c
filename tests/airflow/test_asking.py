"""A replay as one task, and what stays within a budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.airflow.flows import Flows
from tests.replay.executor_contract import PROBE, TRAIN
from tests.replay.programs import make_project, program
from tracker.errors import InputError
from tracker.replay.documents import Plan, PlannedRun, Question, Slice

ASK = """
from airflow.sdk import DAG
from tracker.operators import HindsightReplayOperator

with DAG("pipeline") as flow:
    HindsightReplayOperator(task_id="ask", repository={repository!r}, branch={branch!r}, store={store!r}, max_runs=1)
"""


def test_a_replay_is_one_task(flows: Flows, tmp_path: Path) -> None:
    """It finds the new probe, asks one run after the other within its budget, and then finds nothing new."""
    project = make_project(tmp_path / "asked")
    project.commit(program(TRAIN))
    for seed in (1, 2):
        project.record(f"seed={seed}")
    project.commit(program(TRAIN, inner=PROBE))
    branch = (project.folder / ".git" / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")
    text = ASK.format(repository=str(project.folder), branch=branch, store=str(project.url))

    assert flows.test(text) == {"ask": "success"}
    assert len(project.values("probe", "epoch", "step")) == 12
    assert flows.test(text) == {"ask": "success"}
    assert len(project.values("probe", "epoch", "step")) == 24
    assert flows.test(text) == {"ask": "skipped"}
    assert project.fidelities("probe") == {"exact"}


def plan() -> Plan:
    """Three runs of an hour each, two slices a run."""
    runs = tuple(PlannedRun(run=name, attempt="a") for name in "abc")
    slices = tuple(Slice(number=i, run="abc"[i // 2], estimate_s=1800.0) for i in range(6))
    return Plan(replay="r", created=0.0, question=Question(names=("x",)), workers=1, runs=runs, slices=slices)


@pytest.mark.parametrize(
    ("budget", "kept"),
    [({}, "abc"), ({"max_runs": 2}, "bc"), ({"max_cpu_hours": 1.5}, "c"), ({"max_cpu_hours": 0.5}, "")],
)
def test_the_latest_runs_that_fit_into_a_budget(migrated: Path, budget: dict[str, float], kept: str) -> None:
    """Of a run all slices, or none; what is left out says why."""
    from tracker.operators.questions import trim

    trimmed, left_out = trim(plan(), **budget)

    assert "".join(run.run for run in trimmed.runs if run.skipped is None) == kept
    assert {piece.run for piece in trimmed.slices} == set(kept)
    assert left_out == 3 - len(kept)
    assert all(str(run.skipped).startswith("left out by max_") for run in trimmed.runs if run.run not in kept)


def test_a_question_needs_a_repository(flows: Flows) -> None:
    """What is missing is named, with where to set it."""
    from tracker.operators.questions import read_question

    from tracker.store.open import open_store

    with pytest.raises(InputError, match="hindsight_repository"):
        read_question(open_store(flows.store_folder), {})
