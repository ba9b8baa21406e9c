"""The jobs of a task instance on a real Slurm: never two at once, none done again, none taken up that is over."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, wait_until
from tracker.store.ids import new_id

pytest.importorskip("submitit")
from tracker.operators.slurm_jobs import Ending, SlurmTask


@pytest.fixture
def task(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmTask:
    """The jobs of a task instance, as any worker finds them."""
    monkeypatch.setenv("SLURM_CONF", cluster.configuration)
    return SlurmTask(tmp_path / "jobs", f"hindsight-train-{new_id()}")


def ended(task: SlurmTask, job: str, cluster: Cluster) -> Ending:
    """How the job ended."""
    found: Ending = wait_until(lambda: task.ending(job), cluster.log, patience_s=300.0)
    return found


def test_a_try_after_a_job_that_was_cancelled(task: SlurmTask, cluster: Cluster, tmp_path: Path) -> None:
    """It is a job of its own, and not submitted before the other one, which ends slowly, is gone."""

    def stubborn() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCONT, signal.SIG_IGN)
        (tmp_path / "at-work").touch()
        while True:
            time.sleep(0.1)

    def alone() -> bool:
        listed = ["squeue", "-h", "--name", os.environ["SLURM_JOB_NAME"], "-o", "%A"]
        return subprocess.run(listed, capture_output=True, text=True).stdout.split() == [os.environ["SLURM_JOB_ID"]]

    first, _ = task.begin(stubborn)
    wait_until((tmp_path / "at-work").exists, cluster.log)
    task.cancel(first)
    second, is_new = SlurmTask(task.folder, task.name).begin(alone)

    assert is_new
    assert second != first
    assert ended(task, second, cluster) == Ending(ok=True, value=True)


def test_a_try_after_a_job_that_failed(task: SlurmTask, cluster: Cluster) -> None:
    """What Airflow knows to have failed is done again, at once."""

    def fail() -> None:
        raise ValueError("no data")

    first, _ = task.begin(fail)
    assert not ended(task, first, cluster).ok
    task.close(first, ok=False)

    second, is_new = task.begin(int, "4")
    assert (is_new, ended(task, second, cluster).value) == (True, 4)


def test_a_job_that_ended_while_nobody_looked(task: SlurmTask, cluster: Cluster) -> None:
    """The worker that had submitted it was killed: the next try finds what it left, and submits nothing."""
    first, _ = task.begin(int, "4")
    ended(task, first, cluster)

    again = SlurmTask(task.folder, task.name)
    assert again.begin(int, "5") == (first, False)
    assert again.ending(first) == Ending(ok=True, value=4)


def test_a_result_that_only_a_worker_can_read(task: SlurmTask, tmp_path: Path) -> None:
    """The triggerer may lack the packages of what a job returned: it looks whether there is a result, and no closer."""
    from tracker.operators.slurm_trigger import SlurmJobTrigger

    (tmp_path / "only_in_jobs.py").write_text("class Model:\n    pass\n")

    def train() -> object:
        sys.path.insert(0, str(tmp_path))
        return __import__("only_in_jobs").Model()

    job, _ = task.begin(train)

    async def fired() -> object:
        return (await anext(SlurmJobTrigger(str(task.folder), job, poll_s=0.1).run())).payload

    assert asyncio.run(fired()) == {"job": job, "has_result": True}
    ending = task.ending(job)
    assert ending is not None
    assert "only_in_jobs" in ending.reason
