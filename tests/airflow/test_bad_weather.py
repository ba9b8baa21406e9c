"""A running Airflow whose tasks are killed, cleared and marked by hand: the runs say what happened."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import tracker
from tests.airflow.server import Airflow
from tracker.read.catalog import RunView, scan
from tracker.store.open import open_store

TASK = """
import os, time
from datetime import timedelta
from pathlib import Path
from airflow.sdk import dag, task
from tracker.decorators import tracked
import tracker

@dag(dag_id={dag_id!r}, schedule=None)
def build():
    @tracked(heartbeat_s=1.0)
    @task(retries=2, retry_delay=timedelta(seconds=1))
    def train(ti=None):
        tracker.log("tried", ti.try_number)
        place = Path({place!r}) / f"try{{ti.try_number}}"
        place.with_suffix(".part").write_text(str(os.getpid()))
        os.replace(place.with_suffix(".part"), place)
        while ti.try_number == 1 and Path({place!r}, "gate").exists():
            time.sleep(0.05)
        return ti.try_number
    train()

build()
"""


class Waiting:
    """A DAG whose task waits in its first try."""

    def __init__(self, airflow: Airflow, dag_id: str, place: Path) -> None:
        self.airflow, self.dag_id, self.place = airflow, dag_id, place
        (place / "gate").touch()
        airflow.add(f"{dag_id}.py", TASK.format(dag_id=dag_id, place=str(place)))
        self.run_id = airflow.trigger(dag_id)

    def pid(self, attempt: int) -> int:
        """The process of a try, once it works."""
        path = self.place / f"try{attempt}"
        self.airflow.wait(path.exists, f"try {attempt} does not begin: {self.log()}")
        return int(path.read_text())

    def log(self) -> str:
        """What the task has told."""
        return self.airflow.log(self.dag_id, self.run_id, "train")

    def run(self) -> RunView:
        """What the store has of it: one run."""
        key = f"airflow@{self.airflow.url.partition('://')[2]}/{self.dag_id}/{self.run_id}/train/-1"
        views = scan(open_store(self.airflow.home / "store"))
        (found,) = (view for view in views if view.document.launch_key == key)
        return found

    def path(self, rest: str) -> str:
        """An address of the API."""
        return f"/api/v2/dags/{self.dag_id}/{rest}"


@pytest.fixture
def waiting(airflow: Airflow, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Waiting]:
    """The task at its first try, which is let go at the end."""
    found = Waiting(airflow, request.node.name.removeprefix("test_"), tmp_path)
    yield found
    (tmp_path / "gate").unlink(missing_ok=True)


def test_a_killed_worker(waiting: Waiting) -> None:
    """SIGKILL fires no hook: the try was killed, the next one is an attempt of the same run, and finishes."""
    os.kill(waiting.pid(1), signal.SIGKILL)

    waiting.pid(2)
    assert waiting.airflow.finished(waiting.dag_id, waiting.run_id)[""] == "success", waiting.log()
    run = waiting.run()
    assert run.status == "finished"
    assert [attempt.status for attempt in run.attempts] == ["killed", "finished"]
    frame = tracker.dataframe("tried", "attempt", store=str(waiting.airflow.home / "store"), runs=[run.run])
    assert 2 in frame["tried"].tolist()


def test_a_task_marked_as_failed(waiting: Waiting) -> None:
    """Its process is stopped without a word: the run was killed."""
    waiting.pid(1)
    waiting.airflow.ask("PATCH", waiting.path(f"dagRuns/{waiting.run_id}/taskInstances/train"), {"new_state": "failed"})

    assert waiting.airflow.finished(waiting.dag_id, waiting.run_id)["train"] == "failed"
    waiting.airflow.wait(lambda: waiting.run().status != "running", "the run is still said to run")
    assert waiting.run().status == "killed"


def test_a_cleared_task(waiting: Waiting) -> None:
    """Cleared after it has succeeded: a further attempt of the same run."""
    waiting.pid(1)
    (waiting.place / "gate").unlink()
    assert waiting.airflow.finished(waiting.dag_id, waiting.run_id)[""] == "success", waiting.log()
    body = {"dry_run": False, "dag_run_id": waiting.run_id, "only_failed": False, "task_ids": ["train"]}
    waiting.airflow.ask("POST", waiting.path("clearTaskInstances"), body)

    waiting.pid(2)
    assert waiting.airflow.finished(waiting.dag_id, waiting.run_id)[""] == "success"
    assert [attempt.status for attempt in waiting.run().attempts] == ["finished", "finished"]
