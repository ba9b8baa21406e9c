"""A replay as one task."""

from __future__ import annotations

import pytest

from tests.airflow.flows import Flows
from tests.replay.executor_contract import PROBE, TRAIN
from tests.replay.programs import make_project, program
from tracker.replay.watching import read_looks

ASK = """
from datetime import timedelta
from airflow.sdk import DAG
from tracker.operators import HindsightReplayOperator

with DAG("pipeline") as flow:
    HindsightReplayOperator(task_id="ask", repository={repository!r}, branch={branch!r}, store={store!r}, max_runs=1,
                            ignore=["pid"], retries={retries}, retry_delay=timedelta(0))
"""
TIMED = TRAIN.replace(
    "            # inner", "            tracker.log('pid', os.getpid())  # never the same\n            # inner"
)


def test_a_replay_is_one_task(flows: Flows, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It finds the new probe, asks one run after the other within its budget, and then finds nothing new."""
    project = make_project(tmp_path_factory.mktemp("asked"))
    project.commit(program(TIMED))
    for seed in (1, 2):
        project.record(f"seed={seed}")
    project.commit(program(TIMED, inner=PROBE))
    branch = (project.folder / ".git" / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")
    text = ASK.format(repository=str(project.folder), branch=branch, store=str(project.url), retries=0)

    assert flows.test(text) == {"ask": "success"}
    assert len(project.values("probe", "epoch", "step")) == 12
    assert flows.test(text) == {"ask": "success"}
    assert len(project.values("probe", "epoch", "step")) == 24
    assert flows.test(text) == {"ask": "skipped"}
    assert project.fidelities("probe") == {"exact"}


def test_a_task_that_is_tried_again_is_one_try_of_the_probe(
    flows: Flows, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A run fails whenever it is asked; only what the last try of the task found is remembered."""
    project = make_project(tmp_path_factory.mktemp("asked"))
    project.commit(program(TRAIN))
    project.record("seed=1")
    project.commit(program(TRAIN, inner='tracker.log("probe", 1 / 0)'))
    branch = (project.folder / ".git" / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")
    text = ASK.format(repository=str(project.folder), branch=branch, store=str(project.url), retries=1)

    assert flows.test(text) == {"ask": "failed"}

    looks = read_looks(project.store, str(project.folder / ".git"), branch)
    assert [look.open for look in looks] == [(), ("probe",)]
