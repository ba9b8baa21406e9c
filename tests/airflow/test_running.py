"""Operators and the listener in workers of a running Airflow: stopped, deferred, restarted, asked twice at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tracker
from tests.airflow.server import Airflow
from tests.replay.executor_contract import PROBE, TRAIN
from tests.replay.programs import Project, make_project, program
from tracker.read.catalog import RunView, scan
from tracker.store.open import open_store

WATCHED = """
from datetime import timedelta
from airflow.sdk import DAG, BaseOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

class Wait(BaseOperator):
    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="resume")

    def resume(self, context, event=None):
        return "resumed"

with DAG("watched", tags=["watched"], schedule=None) as dag:
    shell = BashOperator(task_id="shell", bash_command="echo {{ run_id }}")
    wait = Wait(task_id="wait")
    shell >> wait
"""
FORKED = """
from airflow.sdk import DAG, task

with DAG("forked", schedule=None) as dag:
    @task
    def loaded():
        import sys
        return "pyarrow.parquet" in sys.modules and "tracker.record.capture" in sys.modules
    loaded()
"""
STARTING = """
import sys
from airflow.jobs.job import Job
from tracker.operators import listener

listener.on_starting(component=Job.__new__(Job))
print("pyarrow.parquet" in sys.modules)
"""
LINKED = """
from airflow.sdk import DAG, task
from tracker.operators import TrackedOperator, run_asset
import tracker

def train():
    tracker.log("loss", 0.5)

with DAG("linked", schedule=None) as dag:
    TrackedOperator(task_id="train", python_callable=train, outlets=[run_asset("linked")])

with DAG("scheduled_on_it", schedule=[run_asset("linked")]) as after:
    @task
    def evaluate():
        return "evaluated"
    evaluate()
"""
STOPPED = """
from airflow.sdk import DAG
from tracker.operators import TrackedOperator

with DAG("stopped", schedule=None) as dag:
    TrackedOperator(task_id="work", command=["sh", "-c", {command!r}], folder={folder!r})
"""
REPLAY = """
from datetime import timedelta
from tracker.operators import hindsight_replay_dag  # Airflow reads files that name it
dag = hindsight_replay_dag({dag_id!r}, repository={repository!r}, max_active_runs=4, retries=100,
                           retry_delay=timedelta(seconds=1))  # tries fail until the API server is up again
"""


def runs_of(airflow: Airflow, dag_id: str) -> dict[str | None, RunView]:
    """What the store has of a DAG's tasks."""
    views = scan(open_store(airflow.home / "store"))
    return {view.document.name: view for view in views if f"dag:{dag_id}" in view.document.tags}


def test_workers_are_forked_with_what_runs_need(airflow: Airflow) -> None:
    """The scheduler has imported it, so a task that nobody tracks finds it there."""
    airflow.add("forked.py", FORKED)
    run_id = airflow.trigger("forked")

    assert airflow.finished("forked", run_id) == {"": "success", "loaded": "success"}
    assert airflow.xcom("forked", run_id, "loaded") in (True, "true"), "the scheduler imported nothing"


@pytest.mark.parametrize(
    ("option", "program", "expected"),
    [
        ("preload", "scheduler", True),
        ("listener", "triggerer", False),
        (None, "scheduler", False),
    ],
)
def test_who_imports_ahead(option: str | None, program: str, expected: bool) -> None:
    """A scheduler, where the configuration has the listener or asks for it."""
    settings = {} if option is None else {f"AIRFLOW__HINDSIGHT__{option.upper()}": "True"}
    own = {name: text for name, text in os.environ.items() if not name.startswith("AIRFLOW__HINDSIGHT__")}
    command = [sys.executable, "-c", STARTING, program]

    done = subprocess.run(command, env=own | settings, capture_output=True, text=True, timeout=120)

    assert done.stdout.split()[-1:] == [str(expected)], done.stderr


def test_the_listener_in_a_worker(airflow: Airflow) -> None:
    """Operators without a function are runs; one that was deferred is one run, which goes on as an attempt."""
    airflow.add("watched.py", WATCHED)
    run_id = airflow.trigger("watched")

    states = airflow.finished("watched", run_id)
    assert states == {"": "success", "shell": "success", "wait": "success"}, airflow.log("watched", run_id, "")

    airflow.wait(  # Airflow tells the state before the hooks are called
        lambda: all(run.status != "running" for run in runs_of(airflow, "watched").values()), "a run does not end"
    )
    runs = runs_of(airflow, "watched")
    assert {name: run.status for name, run in runs.items()} == {"shell": "finished", "wait": "finished"}
    assert runs["shell"].arguments["bash_command"] == f"echo {run_id}"
    assert [attempt.status for attempt in runs["wait"].attempts] == ["preempted", "finished"]


def test_a_link_to_the_run_and_a_dag_scheduled_on_it(airflow: Airflow) -> None:
    """The task's page links to the run; when it has finished, another DAG begins."""
    airflow.add("linked.py", LINKED)
    airflow.known("scheduled_on_it")
    run_id = airflow.trigger("linked")

    assert airflow.finished("linked", run_id)[""] == "success", airflow.log("linked", run_id, "")

    (run,) = runs_of(airflow, "linked").values()
    path = f"/api/v2/dags/linked/dagRuns/{run_id}/taskInstances/train/links"
    links = airflow.wait(
        lambda: [url for url in airflow.ask("GET", path)["extra_links"].values() if url], "there is no link"
    )
    assert links == [f"{airflow.home / 'store'}/runs/{run.run}/"]
    path = "/api/v2/dags/scheduled_on_it/dagRuns"
    begun = airflow.wait(lambda: airflow.ask("GET", path)["dag_runs"], "the other DAG does not begin")
    assert airflow.finished("scheduled_on_it", begun[0]["dag_run_id"])["evaluate"] == "success"


def test_a_command_is_stopped_with_its_task(airflow: Airflow, tmp_path: Path) -> None:
    """Marked as failed by a person: the command gets a signal and is gone."""
    told = tmp_path / "told"
    command = f"trap 'echo stopped >{told}.end; exit 0' TERM; echo $$ >{told}; while :; do sleep 0.1; done"
    airflow.add("stopped.py", STOPPED.format(command=command, folder=str(tmp_path)))
    run_id = airflow.trigger("stopped")
    airflow.wait(lambda: told.exists() and told.read_text().strip(), "the command does not begin")

    airflow.ask("PATCH", f"/api/v2/dags/stopped/dagRuns/{run_id}/taskInstances/work", {"new_state": "failed"})

    airflow.wait(Path(f"{told}.end").exists, "the command is not stopped")
    pid = int(told.read_text())
    airflow.wait(lambda: not Path(f"/proc/{pid}").exists(), "the command is still there")
    assert airflow.finished("stopped", run_id)["work"] == "failed"


def asked(airflow: Airflow, folder: Path, dag_id: str, *, seeds: tuple[int, ...]) -> Project:
    """Runs of a script, a probe in its repository, and a DAG that asks them."""
    project = make_project(folder)
    timed = TRAIN.replace("            # inner", "            tracker.log('pid', os.getpid())\n            # inner")
    project.commit(program(timed))
    for seed in seeds:
        project.record(f"seed={seed}")
    project.commit(program(timed, inner=PROBE))
    airflow.add(f"{dag_id}.py", REPLAY.format(dag_id=dag_id, repository=str(project.folder)))
    return project


def conf(project: Project) -> dict[str, Any]:
    """What the trigger form is filled with."""
    branch = (project.folder / ".git" / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")
    return {"names": ["probe"], "ignore": ["pid"], "store": str(project.url), "branch": branch}


def test_two_runs_that_ask_the_same(airflow: Airflow, tmp_path: Path) -> None:
    """Both end well, and every context has one value."""
    project = asked(airflow, tmp_path, "asking_twice", seeds=(1, 2))
    first, second = (airflow.trigger("asking_twice", conf(project)) for _ in range(2))

    ends = [airflow.finished("asking_twice", run)[""] for run in (first, second)]

    assert ends == ["success", "success"], airflow.log("asking_twice", first, "")
    frame = tracker.dataframe("probe", "fidelity", store=str(project.url))
    assert len(frame) == 2 * 12
    assert set(frame["fidelity"]) == {"exact"}


def test_everything_is_killed_while_slices_are_executed(airflow: Airflow, tmp_path: Path) -> None:
    """Scheduler, workers and all: started again, Airflow goes on, and does nothing twice."""
    project = asked(airflow, tmp_path, "restarted", seeds=(1, 2))
    run_id = airflow.trigger("restarted", conf(project))
    airflow.wait(lambda: list(project.url.glob("replays/*/plan.json")), "nothing is planned")
    airflow.wait(
        lambda: any("running" in str(each["state"]) for name, each in airflow.tasks("restarted", run_id).items()
                    if name.startswith("slice")),
        "no slice is executed",
    )  # fmt: skip

    airflow.stop(signal.SIGKILL)
    airflow.start()

    assert airflow.finished("restarted", run_id)[""] == "success", airflow.log("restarted", run_id, "")
    frame = tracker.dataframe("probe", "fidelity", store=str(project.url))
    assert len(frame) == 2 * 12
    assert set(frame["fidelity"]) == {"exact"}
