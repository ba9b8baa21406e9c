"""``SlurmTrackedOperator`` on a real Slurm: jobs are submitted once, found again, cancelled, and told as they end."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.flows import IS_AIRFLOW_3, Flows, losing
from tests.airflow.server import Airflow
from tests.replay.executor_contract import PROBE, TRAIN
from tests.replay.programs import make_project, program
from tests.slurm.cluster import Cluster
from tracker.read.catalog import RunView, scan
from tracker.store.open import open_store

pytest.importorskip("submitit")

HEAD = """
from airflow.sdk import DAG
from tracker.operators import SlurmTrackedOperator
import tracker

RATE = 2
"""
DAG = """
from datetime import timedelta
from airflow.sdk import DAG
from tracker.operators import SlurmTrackedOperator

with DAG({dag_id!r}, schedule=None) as dag:
    SlurmTrackedOperator(task_id="train", script="train.py", folder={folder!r}, job_folder={folder!r} + "/jobs",
                         deferrable={deferrable}, poll_s=0.2, retries=1, retry_delay=timedelta(0),
                         environment={{"HINDSIGHT_CHECKPOINTS": "all"}})
"""
REPLAY = """
from airflow.sdk import DAG
from tracker.operators import HindsightReplayOperator

with DAG("asked_on_slurm", schedule=None) as dag:
    HindsightReplayOperator(task_id="ask", names=["probe"], repository={repository!r}, branch={branch!r},
                            store={store!r}, executor="slurm", workers=2, deferrable=True)
"""
SCRIPT = """
import time
from pathlib import Path
import tracker

weight = [0.0]
with tracker.checkpointing(resume=True, weight=weight):
    for epoch in tracker.loop("epoch", range(3)):
        for step in tracker.loop("step", range(2)):
            weight[0] += 1.5 ** epoch
        tracker.log("weight", weight[0])
        with open("executed", "a") as file:
            file.write(f"{epoch} ")
        while epoch == 2 and Path("gate").exists():
            time.sleep(0.05)
"""


def test_a_callable_and_a_command_are_jobs(
    flows: Flows, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a run: the result is the task's, a failure in the job is the task's failure, with its reason."""
    monkeypatch.setenv("SLURM_CONF", cluster.configuration)
    text = (
        HEAD
        + f"""
def train(lr, epochs):
    for epoch in tracker.loop("epoch", range(epochs)):
        tracker.log("loss", RATE * lr * epoch)
    return epochs

def fail():
    raise ValueError("no data")

with DAG("pipeline") as flow:
    own = dict(job_folder={str(tmp_path / "jobs")!r}, poll_s=0.1)
    SlurmTrackedOperator(task_id="call", python_callable=train, op_args=[0.5], op_kwargs={{"epochs": 2}}, **own)
    SlurmTrackedOperator(task_id="shell", command="echo at work; exit 4", **own)
    SlurmTrackedOperator(task_id="broken", python_callable=fail, **own)
"""
    )
    assert flows.test(text) == {"call": "success", "shell": "failed", "broken": "failed"}

    runs = flows.runs()
    assert {name: run.status for name, run in runs.items()} == {
        "call": "finished", "shell": "failed", "broken": "failed",
    }  # fmt: skip
    assert all(run.document.launch_key.startswith("airflow/pipeline/") for run in runs.values())
    assert runs["call"].arguments == {"lr": 0.5, "epochs": 2}
    assert flows.frame("epoch", "loss")["loss"].dropna().tolist() == [0.0, 1.0]
    assert [attempt.end and attempt.end.exit_code for attempt in runs["shell"].attempts] == [4]


def test_a_store_that_goes_away_while_the_job_is_at_work(
    flows: Flows, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job has done its work, and so has the task."""
    monkeypatch.setenv("SLURM_CONF", cluster.configuration)
    text = f"""
with DAG("pipeline") as flow:
    SlurmTrackedOperator(task_id="shell", command={losing(flows.store_folder)!r},
                         job_folder={str(tmp_path / "jobs")!r}, poll_s=0.1)
"""
    assert flows.test(HEAD + text) == {"shell": "success"}


def test_a_task_that_is_killed_while_its_job_is_submitted(
    flows: Flows, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no job yet that could be cancelled: it is as soon as there is."""
    monkeypatch.setenv("SLURM_CONF", cluster.configuration)
    text = f"""
with DAG("pipeline") as flow:
    task = SlurmTrackedOperator(task_id="shell", command="sleep 3600", job_folder={str(tmp_path / "jobs")!r},
                                poll_s=0.1)
    task.on_kill()
"""
    assert flows.test(HEAD + text) == {"shell": "failed"}


def link(airflow: Airflow, cluster: Cluster) -> None:
    """Lead Airflow's processes to the cluster."""
    path = airflow.home / "slurm.conf"
    if not path.exists():
        path.symlink_to(cluster.configuration)


class Task:
    """A DAG whose task's job waits at a gate."""

    def __init__(self, airflow: Airflow, cluster: Cluster, folder: Path, *, deferrable: bool) -> None:
        self.airflow, self.cluster, self.folder = airflow, cluster, folder
        self.dag_id = f"slurm_{folder.name}"
        link(airflow, cluster)
        (folder / "gate").touch()
        (folder / "train.py").write_text(SCRIPT)
        airflow.add(f"{self.dag_id}.py", DAG.format(dag_id=self.dag_id, folder=str(folder), deferrable=deferrable))
        self.run_id = airflow.trigger(self.dag_id)

    def begun(self) -> None:
        """Wait until the script stands at the gate."""
        path = self.folder / "executed"
        self.airflow.wait(
            lambda: path.exists() and "2" in path.read_text(),
            f"the job does not begin: {self.log()}{self.cluster.log()}",
        )

    def instance(self) -> dict[str, Any]:
        """The task instance as Airflow has it."""
        return self.airflow.tasks(self.dag_id, self.run_id)["train"]

    def job(self) -> str:
        """Its only job."""
        (job,) = self.jobs()
        return job

    def jobs(self) -> set[str]:
        """All its jobs."""
        return set(re.findall(r"(?:submitted|took up) job (\d+)", self.log()))

    def run(self) -> RunView:
        """Its only run."""
        end = f"/{self.dag_id}/{self.run_id}/train/-1"
        views = scan(open_store(self.airflow.home / "store"))
        (found,) = (view for view in views if str(view.document.launch_key).endswith(end))
        return found

    def log(self) -> str:
        """What the task has told."""
        return self.airflow.log(self.dag_id, self.run_id, "train")

    def finished(self) -> str:
        """Its state, once the gate is open."""
        (self.folder / "gate").unlink(missing_ok=True)
        return self.airflow.finished(self.dag_id, self.run_id)["train"]


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="no Airflow 2 is started")
def test_a_killed_worker_leaves_its_job_at_work(airflow: Airflow, cluster: Cluster, tmp_path: Path) -> None:
    """The next try takes the job up: it was submitted once, and the run has one attempt."""
    task = Task(airflow, cluster, tmp_path, deferrable=False)
    task.begun()
    os.kill(task.instance()["pid"], signal.SIGKILL)
    airflow.wait(lambda: task.instance()["try_number"] == 2, "there is no second try")
    airflow.wait(lambda: "took up job" in task.log(), "the second try does not take the job up")

    assert task.finished() == "success", task.log()
    assert (tmp_path / "executed").read_text() == "0 1 2 "
    assert task.cluster.state(task.job()) == "COMPLETED"
    assert [attempt.status for attempt in task.run().attempts] == ["finished"]


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="no Airflow 2 is started")
def test_a_job_that_is_put_into_the_queue_again(airflow: Airflow, cluster: Cluster, tmp_path: Path) -> None:
    """The task is deferred all the while; the run goes on from its checkpoint as a second attempt."""
    task = Task(airflow, cluster, tmp_path, deferrable=True)
    task.begun()
    airflow.wait(lambda: task.instance()["state"] == "deferred", "the task is not deferred")
    checkpoints = airflow.home / "store" / "runs" / task.run().run / "checkpoints"
    airflow.wait(lambda: list(checkpoints.glob("*/*")), "there is no checkpoint")
    cluster.command("scontrol", "requeue", task.job())
    airflow.wait(lambda: len(task.run().attempts) == 2, "the job does not begin again")

    assert task.finished() == "success", task.log()
    assert [attempt.status for attempt in task.run().attempts][-1] == "finished"
    assert (tmp_path / "executed").read_text().count("0") == 1
    assert task.instance()["try_number"] == 1


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="no Airflow 2 is started")
def test_a_deferred_task_that_is_marked_as_failed(airflow: Airflow, cluster: Cluster, tmp_path: Path) -> None:
    """No worker is there to be told: the triggerer cancels the job."""
    task = Task(airflow, cluster, tmp_path, deferrable=True)
    task.begun()
    airflow.wait(lambda: task.instance()["state"] == "deferred", "the task is not deferred")

    path = f"/api/v2/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/train"
    airflow.ask("PATCH", path, {"new_state": "failed"})

    airflow.wait(lambda: cluster.state(task.job()) == "CANCELLED", "the job is not cancelled")
    airflow.wait(lambda: task.run().status == "killed", "the run is still said to run")
    assert task.finished() == "failed"


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="no Airflow 2 is started")
def test_a_deferred_task_that_is_cleared(airflow: Airflow, cluster: Cluster, tmp_path: Path) -> None:
    """Its job is cancelled, and the new try has a job of its own, whichever of the two comes first."""
    task = Task(airflow, cluster, tmp_path, deferrable=True)
    task.begun()
    airflow.wait(lambda: task.instance()["state"] == "deferred", "the task is not deferred")
    first = task.job()

    body = {"dry_run": False, "dag_run_id": task.run_id, "only_failed": False, "task_ids": ["train"]}
    airflow.ask("POST", f"/api/v2/dags/{task.dag_id}/clearTaskInstances", body)

    airflow.wait(lambda: cluster.state(first) == "CANCELLED", f"the job is not cancelled: {task.log()}")
    airflow.wait(lambda: len(task.jobs()) == 2, f"there is no other job: {task.log()}")
    assert task.finished() == "success", task.log()
    assert [attempt.status for attempt in task.run().attempts] == ["killed", "finished"]


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="no Airflow 2 is started")
def test_a_replay_on_slurm_without_a_worker_that_waits(airflow: Airflow, cluster: Cluster, tmp_path: Path) -> None:
    """The task is deferred, the triggerer follows the jobs, and the answers are exact."""
    link(airflow, cluster)
    project = make_project(tmp_path)
    project.commit(program(TRAIN))
    project.record("seed=1")
    project.commit(program(TRAIN, inner=PROBE))
    branch = (project.folder / ".git" / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")
    own = {"repository": str(project.folder), "branch": branch, "store": str(project.url)}
    airflow.add("asked_on_slurm.py", REPLAY.format(**own))
    run_id = airflow.trigger("asked_on_slurm")

    assert airflow.finished("asked_on_slurm", run_id)["ask"] == "success", airflow.log("asked_on_slurm", run_id, "ask")

    assert "exact" in airflow.xcom("asked_on_slurm", run_id, "ask", "summary")
    assert len(project.values("probe", "epoch", "step")) == 12
    assert list((airflow.home / "logs" / "dag_id=asked_on_slurm").rglob("*.trigger.*.log"))
