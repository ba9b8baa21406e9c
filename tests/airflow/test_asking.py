"""A replay as one task."""

from __future__ import annotations

import pytest

from tests.airflow.flows import Flows
from tests.replay.executor_contract import PROBE, TRAIN
from tests.replay.programs import make_project, program

ASK = """
from airflow.sdk import DAG
from tracker.operators import HindsightReplayOperator

with DAG("pipeline") as flow:
    HindsightReplayOperator(task_id="ask", repository={repository!r}, branch={branch!r}, store={store!r}, max_runs=1,
                            ignore=["pid"])
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
    text = ASK.format(repository=str(project.folder), branch=branch, store=str(project.url))

    assert flows.test(text) == {"ask": "success"}
    assert len(project.values("probe", "epoch", "step")) == 12
    assert flows.test(text) == {"ask": "success"}
    assert len(project.values("probe", "epoch", "step")) == 24
    assert flows.test(text) == {"ask": "skipped"}
    assert project.fidelities("probe") == {"exact"}
