"""The DAG of the factory, executed in this process: what an Airflow without a scheduler of its own can show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.airflow.flows import Flows
from tests.replay.executor_contract import PROBE, TRAIN
from tests.replay.programs import make_project, program

REPLAY = """
from tracker.operators import hindsight_replay_dag
flow = hindsight_replay_dag("pipeline", repository={repository!r}, branch={branch!r}, retries=0)
"""


def test_slices_are_mapped_tasks(flows: Flows, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The new probe is found and answered, and then nothing is new: what follows the plan is skipped with it."""
    project = make_project(tmp_path_factory.mktemp("asked"))
    project.commit(program(TRAIN))
    for seed in (1, 2):
        project.record(f"seed={seed}")
    project.commit(program(TRAIN, inner=PROBE))
    branch = (project.folder / ".git" / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")
    text = REPLAY.format(repository=str(project.folder), branch=branch)

    states = flows.test(text, store=str(project.url))
    assert set(states.values()) == {"success"}
    assert {"plan", "slice[0]", "slice[1]", "verify", "summary"} <= set(states)
    assert len(project.values("probe", "epoch", "step")) == 24
    assert project.fidelities("probe") == {"exact"}

    states = flows.test(text, store=str(project.url))
    assert {"plan", "verify", "summary"} <= set(states)
    assert set(states.values()) == {"skipped"}


def test_a_plan_that_fails_fails_the_dag(flows: Flows, tmp_path_factory: pytest.TempPathFactory) -> None:
    """There is no repository: nothing behind the plan is taken for done."""
    project = make_project(tmp_path_factory.mktemp("nowhere"))
    project.commit(program(TRAIN))
    project.record("seed=1")

    states = flows.test(REPLAY.format(repository="/nowhere", branch="main"), store=str(project.url))

    assert states["plan"] == "failed"
    assert "success" not in states.values()
    assert states["summary"] == "upstream_failed"


def test_every_task_is_tried_again(migrated: Path) -> None:
    """Also those that only read and write the store, which may be away for a minute."""
    from tracker.operators import hindsight_replay_dag

    assert [task.retries for task in hindsight_replay_dag(retries=2).tasks] == [2, 2, 2, 2]
