"""What workers of a running Airflow leave when they are killed, run on other hosts, or cannot reach the store."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import tracker
from tests import servers
from tests.airflow.server import Airflow
from tests.s3.proxy import Fault, Proxy, proxy_to
from tracker.read.catalog import RunView, scan
from tracker.read.output import output
from tracker.store.base import Store
from tracker.store.open import open_store

TALKS = """
import logging, subprocess, sys
from airflow.sdk import dag, task
import tracker

@dag(dag_id="talks", schedule=None)
def build():
    @task.tracked
    def talk():
        print("from print")
        print("from stderr", file=sys.stderr)
        logging.getLogger("mine").warning("from logging")
        tracker.log("said", 1)
    talk()

build()
"""
COMMAND = """
from airflow.sdk import DAG
from tracker.operators import TrackedOperator

with DAG("guarded", schedule=None) as dag:
    TrackedOperator(task_id="work", command=["sh", "-c", {command!r}], folder={folder!r})
"""
# A host is its name and what only it keeps: the spool.
TRAIN = """
import os, socket, time
from datetime import timedelta
from pathlib import Path
from airflow.sdk import dag, get_current_context, task
from tracker.decorators import tracked
import tracker

def on_host(name):
    socket.gethostname = lambda: name
    os.environ["HINDSIGHT_SPOOL"] = {folder!r} + "/spool-" + name

@tracked(store={store!r}, storage_options={options!r}, heartbeat_s=1.0, flush_interval_s=1.0)
def train(number):
    for step in tracker.loop("step", range(3)):
        tracker.log("loss", 10.0 * number + step)
    Path({folder!r}, "begun-" + str(number)).write_text(str(os.getpid()))
    while Path({folder!r}, "gate-" + str(number)).exists():
        time.sleep(0.05)
    tracker.log("end", number)

@dag(dag_id={dag_id!r}, schedule=None)
def build():
    @task(retries=2, retry_delay=timedelta(0))
    def work():
        number = get_current_context()["ti"].try_number
        on_host({hosts!r}[number - 1])
        train(number)
    work()

build()
"""


def pid_in(airflow: Airflow, path: Path) -> int:
    """The process that has written its id there."""
    return int(airflow.wait(lambda: path.exists() and path.read_text().strip(), f"nobody has written {path}"))


def run_of(store: Store, dag_id: str) -> RunView:
    """The only run of a DAG's tasks."""
    (found,) = (view for view in scan(store) if f"dag:{dag_id}" in view.document.tags)
    return found


def test_what_a_task_says_is_in_its_run_and_in_the_log_of_airflow(airflow: Airflow) -> None:
    """Both, each line once."""
    airflow.add("talks.py", TALKS)
    run_id = airflow.trigger("talks")

    assert airflow.finished("talks", run_id)[""] == "success", airflow.log("talks", run_id, "talk")

    store = open_store(airflow.home / "store")
    said = [line.text for line in output(store, run_of(store, "talks")) if "from" in line.text]
    log = airflow.log("talks", run_id, "talk")
    for text in ("from print", "from stderr", "from logging"):
        assert sum(text in line for line in said) == 1
        assert sum(text in line for line in log.splitlines()) == 1


def test_the_command_of_a_killed_worker_ends(airflow: Airflow, tmp_path: Path) -> None:
    """SIGKILL fires no hook: the process that watches over the command ends it."""
    command = f"echo $$ >{tmp_path}/command; while :; do sleep 0.1; done"
    airflow.add("guarded.py", COMMAND.format(command=command, folder=str(tmp_path)))
    run_id = airflow.trigger("guarded")
    pid = pid_in(airflow, tmp_path / "command")

    os.kill(airflow.tasks("guarded", run_id)["work"]["pid"], signal.SIGKILL)

    airflow.wait(lambda: not Path(f"/proc/{pid}").exists(), "the command goes on")
    assert airflow.finished("guarded", run_id)["work"] == "failed"


def test_a_worker_that_is_told_to_stop(airflow: Airflow, tmp_path: Path) -> None:
    """SIGTERM, as machines send it that are taken away: the command is stopped, and its run was killed."""
    command = f"echo $$ >{tmp_path}/command; while :; do sleep 0.1; done"
    airflow.add("told.py", COMMAND.replace("guarded", "told").format(command=command, folder=str(tmp_path)))
    run_id = airflow.trigger("told")
    pid = pid_in(airflow, tmp_path / "command")

    os.kill(psutil.Process(airflow.tasks("told", run_id)["work"]["pid"]).ppid(), signal.SIGTERM)

    assert airflow.finished("told", run_id)["work"] == "failed", airflow.log("told", run_id, "work")
    airflow.wait(lambda: not Path(f"/proc/{pid}").exists(), "the command goes on")
    assert run_of(open_store(airflow.home / "store"), "told").status == "killed"


class Training:
    """A task that records on S3, and the way there."""

    def __init__(self, airflow: Airflow, folder: Path, proxy: Proxy, server: servers.Server) -> None:
        self.airflow, self.folder, self.proxy = airflow, folder, proxy
        self.bucket = servers.new_bucket(server)
        self.store = open_store(f"s3://{self.bucket}/store", storage_options=server.options())
        self.options = servers.Server(proxy.endpoint, 0).options()

    def start(self, dag_id: str, *hosts: str) -> str:
        """Its DAG, whose tries run on these hosts, the first two behind gates."""
        for number in (1, 2):
            (self.folder / f"gate-{number}").touch()
        own = {"folder": str(self.folder), "dag_id": dag_id, "hosts": hosts, "options": self.options}
        self.airflow.add(f"{dag_id}.py", TRAIN.format(store=f"s3://{self.bucket}/store", **own))
        return self.airflow.trigger(dag_id)

    def pid(self, number: int) -> int:
        """The process of a try, once it has logged."""
        return pid_in(self.airflow, self.folder / f"begun-{number}")

    def go(self, number: int) -> None:
        """Let a try end."""
        (self.folder / f"gate-{number}").unlink()

    def rows(self) -> list[Any]:
        """What is in the store of every attempt."""
        frame = tracker.dataframe("loss", store=self.store, attempts="all")
        return sorted(frame["loss"].dropna())

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """While this lasts, nobody is answered."""
        faults = [Fault("cut-request", method, ".", times=10**9) for method in ("GET", "PUT", "POST", "HEAD", "DELETE")]
        self.proxy.faults.extend(faults)
        yield
        self.proxy.faults.clear()


@pytest.fixture
def training(airflow: Airflow, tmp_path: Path) -> Iterator[Training]:
    """A bucket of its own, on a real S3 server behind a proxy."""
    with servers.moto(tmp_path / "moto.log") as server, proxy_to(server.endpoint) as proxy:
        yield Training(airflow, tmp_path, proxy, server)


def test_a_try_on_another_host_continues_the_run(training: Training) -> None:
    """The first host is killed with what it has not shipped; nothing but the bucket is common: two attempts."""
    run_id = training.start("moved", "first", "second")
    os.kill(training.pid(1), signal.SIGKILL)
    training.pid(2)
    training.go(2)

    assert training.airflow.finished("moved", run_id)[""] == "success", training.airflow.log("moved", run_id, "work")
    run = run_of(training.store, "moved")
    hosts = [attempt.start.host.name for attempt in run.attempts if attempt.start and attempt.start.host]
    assert [attempt.status for attempt in run.attempts] == ["killed", "finished"]
    assert hosts == ["first", "second"]
    assert {20.0, 21.0, 22.0} <= set(training.rows())


def test_a_store_that_is_away_while_a_task_runs_and_ends(training: Training) -> None:
    """The task ends well all the same; the next one on its host brings what it left."""
    run_id = training.start("outage", "host")
    training.pid(1)
    with training.away():
        training.go(1)
        assert training.airflow.finished("outage", run_id)[""] == "success", training.airflow.log(
            "outage", run_id, "work"
        )

    (training.folder / "gate-1").unlink(missing_ok=True)
    again = training.airflow.trigger("outage")
    assert training.airflow.finished("outage", again)[""] == "success"
    assert training.rows() == [10.0, 10.0, 11.0, 11.0, 12.0, 12.0]
    assert {view.status for view in scan(training.store)} == {"finished"}
