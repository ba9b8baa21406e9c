"""Tasks of one job are shards of one attempt of one run, on Slurm and with submitit's executor for one machine."""

from __future__ import annotations

import pytest
from submitit.core.utils import FailedJobError
from tracker.decorators import TrackedExecutor

import tracker
from tests.slurm.cluster import wait_until
from tests.slurm.conftest import Project


@pytest.mark.parametrize("kind", ["slurm", "local"])
def test_ranks_write_one_run(kind: str, project: Project, request: pytest.FixtureRequest) -> None:
    """Whoever comes first."""
    if kind == "slurm":
        request.getfixturevalue("slurm")
    executor = TrackedExecutor(project.jobs, cluster=kind)
    executor.update_parameters(timeout_min=10, tasks_per_node=3)

    job = executor.submit(project.training.ranked)

    assert job.results() == [0, 1, 2]
    (run,) = project.runs()
    assert (run.status, len(run.attempts)) == ("finished", 1)
    assert {job.task(rank).run.run for rank in range(3)} == {run.run}
    frame = tracker.dataframe("seen", store=project.url)
    seen = sorted(value for name in frame.columns if name.startswith("seen") for value in frame[name].dropna())
    assert seen == [10 * rank + step for rank in range(3) for step in range(3)]
    journals = {path.name for path in project.url.glob("runs/*/data/step/*.parquet")}
    assert len(journals) == 3


def test_ranks_are_refused_to_resume_and_any_of_them_fails_the_run(project: Project) -> None:
    """A checkpoint holds the state of the first one."""
    executor = TrackedExecutor(project.jobs, cluster="local")
    executor.update_parameters(timeout_min=10, tasks_per_node=2)

    job = executor.submit(project.training.steps, str(project.folder))

    with pytest.raises(FailedJobError, match="several ranks"):
        job.results()
    wait_until(lambda: project.runs()[0].status == "failed", project.told)
    wait_until(lambda: bool(list(project.url.glob("runs/*/attempts/*/failure.json"))), project.told)
    (run,) = project.runs()
    end = run.attempts[0].end
    assert end is not None
    assert "several ranks" in (end.error or "")
