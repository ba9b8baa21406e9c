"""Jobs that a ``TrackedExecutor`` submits to a real Slurm are runs."""

from __future__ import annotations

from typing import Any

import pytest
from tracker.decorators import TrackedExecutor

import tracker
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.conftest import Project


def executor_of(project: Project, **parameters: Any) -> TrackedExecutor:
    """An executor on Slurm, with jobs of one task and ten minutes."""
    executor = TrackedExecutor(project.jobs, cluster="slurm")
    executor.update_parameters(**{"timeout_min": 10, "cpus_per_task": 1, **parameters})
    return executor


def test_a_submitted_function_is_a_run(slurm: Cluster, project: Project) -> None:
    """With its arguments, its result, its code, what it logged, and the job that it was."""
    job = executor_of(project).submit(project.training.train, 0.5, epochs=2)

    assert job.result() == 0.5
    run = job.run
    assert (run.status, run.arguments, len(run.attempts)) == ("finished", {"lr": 0.5, "epochs": 2}, 1)
    assert project.values("epoch", "loss") == [[0, 0.5], [1, 0.25]]
    assert run.summary["returned"] == 0.5
    assert run.start is not None
    assert run.start.entry.function == "training:train"
    told = run.start.orchestrator
    assert (told["engine"], told["job"], told["partition"]) == ("submitit", job.job_id, "main")
    assert run.code is not None
    assert run.code.snapshot


def test_an_array_is_one_run_for_each_task(slurm: Cluster, project: Project) -> None:
    """Each job tells its own; ``batch`` does the same."""
    executor = executor_of(project)
    jobs = executor.map_array(project.training.train, [0.1, 0.2])
    with executor.batch():
        jobs += [executor.submit(project.training.train, 0.3), executor.submit(project.training.train, 0.4)]

    assert [job.result() for job in jobs] == [0.1, 0.2, 0.3, 0.4]
    assert [job.run.arguments["lr"] for job in jobs] == [0.1, 0.2, 0.3, 0.4]
    assert len({job.run.run for job in jobs}) == len(project.runs()) == 4
    assert jobs[1].run.start.orchestrator["array_task"] == 1


def test_an_exception_stands_in_the_store(slurm: Cluster, project: Project) -> None:
    """The traceback, too; submitit tells it as ever."""
    import submitit

    job = executor_of(project).submit(project.training.fail, "no data")

    with pytest.raises(submitit.core.utils.FailedJobError, match="no data"):
        job.result()
    run = wait_until(lambda: job.run if job.run.status == "failed" else None, project.told)
    end = run.attempts[0].end
    assert end.error == "ValueError: no data"
    assert "in fail" in end.traceback
    assert run.summary["before"] == 1


def test_an_object_that_can_be_called_is_a_run(slurm: Cluster, project: Project) -> None:
    """Named by its class."""
    job = executor_of(project).submit(project.training.Training(2.0), 2)

    assert job.result() == 2.0
    assert job.run.start.entry.function == "training:Training.__call__"
    assert project.values("epoch", "loss") == [[0, 0.0], [1, 2.0]]


def test_a_function_that_is_tracked_already_is_one_run(slurm: Cluster, project: Project) -> None:
    """Not two in each other."""
    job = executor_of(project).submit(project.training.decorated, 0.5)

    assert job.result() == 0.5
    assert [run.run for run in project.runs()] == [job.run.run]
    assert tracker.dataframe("loss", store=project.url)["loss"].count() == 3
