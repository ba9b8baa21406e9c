"""``TrackedOperator``, ``tracked(operator)`` and the listener, in tasks that Airflow executes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.airflow.flows import Flows, losing
from tests.code.conftest import Repo
from tests.servers import free_port
from tracker.read.catalog import scan
from tracker.store.open import open_store

HEAD = """
from datetime import timedelta
from airflow.sdk import DAG, task
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from tracker.operators import TrackedOperator, tracked
import tracker
"""
SCRIPT = """
import sys
import tracker
lr = tracker.arg("lr", 0.1)
for epoch in tracker.loop("epoch", range(2)):
    tracker.log("loss", lr * epoch)
"""


def test_a_callable_is_called_as_a_run(flows: Flows) -> None:
    """With templated arguments, what it asks of the context, and its result as the task's."""
    text = (
        HEAD
        + """
def train(lr, ti=None):
    tracker.log("loss", float(lr))
    return ti.task_id

with DAG("pipeline", params={"rate": 0.25}) as flow:
    TrackedOperator(task_id="train", python_callable=train, op_kwargs={"lr": "{{ params.rate }}"}, tags=["mine"])
"""
    )
    assert flows.test(text) == {"train": "success"}

    (run,) = flows.runs().values()
    assert run.arguments["lr"] == "0.25"
    assert run.document.tags == ("mine", "dag:pipeline")
    assert flows.frame("returned")["returned"].tolist() == ["train"]


def test_a_callable_that_is_tracked_already(flows: Flows, tmp_path: Path) -> None:
    """What the operator says comes first, the rest stands; a run may have any name. Coroutines are awaited."""
    text = (
        HEAD
        + f"""
@tracked(store={str(tmp_path / "own")!r}, tags=["theirs"], project="theirs")
async def train():
    tracker.log("loss", 0.5)
    return "awaited"

with DAG("pipeline") as flow:
    TrackedOperator(task_id="train", python_callable=train, run_name="resnet-v1.2", tags=["mine"])
"""
    )
    dag_run = flows.load(text).test()

    (run,) = scan(open_store(tmp_path / "own", create=False))
    assert (run.document.name, run.document.project, run.status) == ("resnet-v1.2", "theirs", "finished")
    assert run.document.tags == ("mine", "dag:pipeline")
    assert run.summary == {"loss": 0.5, "returned": "awaited"}
    (ti,) = dag_run.get_task_instances()
    assert ti.xcom_pull(task_ids="train", key="hindsight_run") == run.run


def test_callables_with_a_decorator_and_methods(flows: Flows) -> None:
    """Tracked already, they do all that they did; ``tracked`` above the operator makes no second run of it."""
    text = (
        HEAD
        + """
import functools

def doubled(function):
    @functools.wraps(function)
    def wrapper(*args):
        return 2 * function(*args)
    return wrapper

class Model:
    @tracked
    def fit(self, lr):
        return lr

    twice = doubled(fit)

with DAG("pipeline") as flow:
    tracked(TrackedOperator(task_id="method", python_callable=Model().fit, op_args=[1]))
    tracked(TrackedOperator(task_id="decorated", python_callable=Model().twice, op_args=[1], run_name="named"))
    tracked(TrackedOperator(task_id="shell", command="true"))
"""
    )
    dag_run = flows.load(text).test()

    given = {ti.task_id: (str(ti.state), ti.xcom_pull(task_ids=ti.task_id)) for ti in dag_run.get_task_instances()}
    assert given.pop("shell")[0] == "success"
    assert given == {"method": ("success", 1), "decorated": ("success", 2)}
    runs = {run.document.name: (run.arguments, len(run.attempts)) for run in scan(flows.store)}
    assert runs == {"method": ({"lr": 1}, 1), "named": ({"lr": 1}, 1), "shell": ({}, 1)}
    assert len(scan(flows.store)) == 3


def test_a_store_gets_no_credentials_of_another(flows: Flows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the callable's own nor the environment's; a configured connection is not asked where a store is named."""
    monkeypatch.delenv("HINDSIGHT_STORE")
    monkeypatch.setenv("HINDSIGHT_STORAGE_OPTIONS", '{"key": "environment"}')
    monkeypatch.setenv("AIRFLOW__HINDSIGHT__CONN_ID", "nowhere")
    monkeypatch.setenv("AIRFLOW_CONN_PLAIN", json.dumps({"conn_type": "hindsight", "host": str(flows.store_folder)}))
    text = (
        HEAD
        + f"""
from tracker.record.lifecycle import active_run

@tracked(store="s3://theirs/store", storage_options={{"key": "key", "secret": "hunter2"}})
def train():
    return active_run().settings.storage_options

with DAG("pipeline") as flow:
    TrackedOperator(task_id="train", python_callable=train, hindsight_conn_id="plain")
    tracked(BashOperator(task_id="shell", bash_command="true"), store={str(flows.store_folder)!r})
"""
    )
    dag_run = flows.load(text).test()

    (given,) = (ti.xcom_pull(task_ids="train") for ti in dag_run.get_task_instances() if ti.task_id == "train")
    assert given == {}
    assert {name: run.status for name, run in flows.runs().items()} == {"train": "finished", "shell": "finished"}


def test_a_store_that_is_away(flows: Flows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task does its work, and links to a run that waits in the spool."""
    options = {"endpoint_url": f"http://127.0.0.1:{free_port()}", "key": "key", "secret": "hunter2"}
    connection = {"conn_type": "hindsight", "host": "s3://away/store", "extra": {"storage_options": options}}
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps(connection))
    monkeypatch.setenv("HINDSIGHT_SPOOL", str(tmp_path / "spool"))
    text = (
        HEAD
        + """
def train():
    tracker.log("loss", 0.5)

with DAG("pipeline") as flow:
    TrackedOperator(task_id="train", python_callable=train, hindsight_conn_id="away")
"""
    )
    (ti,) = flows.load(text).test().get_task_instances()

    (spool,) = (tmp_path / "spool").glob("*/")
    (run,) = scan(open_store(spool))
    assert str(ti.state) == "success"
    assert ti.xcom_pull(task_ids="train", key="hindsight_run") == run.run


def test_a_store_that_goes_away(flows: Flows) -> None:
    """What has done its work has not failed, and what failed says why, the first time and the last."""
    text = (
        HEAD
        + f"""
import os
from airflow.providers.common.compat.sdk import AirflowSkipException

def lose():
    os.system({losing(flows.store_folder)!r})

def train():
    lose()

def left_out():
    lose()
    raise AirflowSkipException("nothing to do")

with DAG("pipeline") as flow:
    TrackedOperator(task_id="CALLABLE", python_callable=CALLABLE)
"""
    )
    for name, state in {"train": "success", "left_out": "skipped"}.items():
        flows.store_folder.unlink(missing_ok=True)
        assert flows.test(text.replace("CALLABLE", name)) == {name: state}
        assert flows.store_folder.is_file()


def test_a_script_of_a_revision_is_a_run(flows: Flows, tmp_path: Path) -> None:
    """Checked out elsewhere; the run has the task's identity, the script's entry, and the revision's code."""
    repo = Repo(tmp_path / "training", commit=False)
    repo.write("train.py", SCRIPT)
    first = repo.commit("first")
    repo.write("train.py", "raise SystemExit(3)")
    repo.commit("broken")
    text = (
        HEAD
        + f"""
with DAG("pipeline") as flow:
    TrackedOperator(task_id="train", script="train.py", arguments=["--kwargs", "lr={{{{ 0.5 }}}}"],
                    repository={str(repo.folder)!r}, revision={first!r})
"""
    )
    assert flows.test(text) == {"train": "success"}

    (run,) = flows.runs().values()
    assert run.document.launch_key.startswith("airflow/pipeline/")
    assert (run.document.project, run.document.name, run.status) == ("training", "train", "finished")
    assert flows.frame("epoch", "lr", "loss")["loss"].tolist() == [0.0, 0.5]
    (attempt,) = run.attempts
    assert attempt.start is not None
    assert attempt.start.entry.script == "train.py"
    assert attempt.code is not None
    assert attempt.code.head == first


def test_a_command_that_records_nothing_is_a_run_with_its_exit_code(flows: Flows) -> None:
    """Tried twice: two attempts of one run, both failed, and so is the task."""
    text = (
        HEAD
        + """
with DAG("pipeline") as flow:
    TrackedOperator(task_id="work", command="echo at work; exit 4", retries=1, retry_delay=timedelta(0))
"""
    )
    assert flows.test(text) == {"work": "failed"}

    (run,) = flows.runs().values()
    assert run.status == "failed"
    assert [attempt.end and attempt.end.exit_code for attempt in run.attempts] == [4, 4]


def test_any_operator_can_be_tracked(flows: Flows) -> None:
    """Of a Python function arguments and result, of others the rendered fields."""
    text = (
        HEAD
        + """
def work(value):
    return value + 1

with DAG("pipeline") as flow:
    tracked(PythonOperator(task_id="call", python_callable=work, op_args=[1]))
    tracked(BashOperator(task_id="shell", bash_command="echo {{ dag.dag_id }}", env={"API_TOKEN": "hunter2"}))
    tracked(BashOperator(task_id="broken", bash_command="exit 3"))
    tracked(BashOperator(task_id="named", bash_command="true"), name="prepare v1.2", tags=("mine",))
"""
    )
    assert flows.test(text) == {"call": "success", "shell": "success", "broken": "failed", "named": "success"}

    runs = flows.runs()
    assert runs.pop("prepare v1.2").document.tags == ("mine", "dag:pipeline")
    assert runs["call"].arguments == {"value": 1}
    assert runs["shell"].arguments["bash_command"] == "echo pipeline"
    assert {name: run.status for name, run in runs.items()} == {
        "call": "finished", "shell": "finished", "broken": "failed",
    }  # fmt: skip
    assert not secrets_in(flows)


def test_the_listener_captures_what_its_configuration_names(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task of these DAGs, with no change of their code; none of others, and none twice."""
    monkeypatch.setenv("AIRFLOW__HINDSIGHT__LISTENER", "True")
    monkeypatch.setenv("AIRFLOW__HINDSIGHT__DAG_TAGS", "watched")
    text = (
        HEAD
        + """
@task
def train(lr):
    tracker.log("loss", lr)
    return lr

with DAG("pipeline", tags=["TAG"]) as flow:
    shell = BashOperator(task_id="shell", bash_command="exit 0")
    train(0.5) >> shell >> BashOperator(task_id="no", bash_command="exit 99")
"""
    )
    assert flows.test(text.replace("TAG", "other")) == {"train": "success", "shell": "success", "no": "skipped"}
    assert set(flows.runs()) <= {"train", None}  # a log outside of all runs starts one
    before = len(flows.runs())

    assert flows.test(text.replace("TAG", "watched")) == {"train": "success", "shell": "success", "no": "skipped"}

    runs = {name: run for name, run in flows.runs().items() if "dag:pipeline" in run.document.tags}
    assert before <= 1
    assert {name: run.status for name, run in runs.items()} == {
        "train": "finished", "shell": "finished", "no": "finished",
    }  # fmt: skip
    assert runs["train"].arguments == {"lr": 0.5}


def test_the_listener_knows_how_a_task_ended(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not how the function ended from which its operator only learns what to do, or which it calls again and again."""
    monkeypatch.setenv("AIRFLOW__HINDSIGHT__LISTENER", "True")
    text = (
        HEAD
        + """
@task.bash
def shell():
    return "exit 3"

@task.sensor(poke_interval=0.01)
def look(ti=None, seen=[]):
    seen.append(1)
    return len(seen) > 2

with DAG("pipeline") as flow:
    shell()
    look()
"""
    )
    assert flows.test(text) == {"shell": "failed", "look": "success"}

    assert {name: run.status for name, run in flows.runs().items()} == {"shell": "failed", "look": "finished"}


@pytest.mark.parametrize(("wanted", "found"), [("other, pipe*", {"train"}), ("other,line", set())])
def test_the_listener_records_the_dags_that_are_named(
    flows: Flows, monkeypatch: pytest.MonkeyPatch, wanted: str, found: set[str]
) -> None:
    """By patterns of ``dag_ids``."""
    monkeypatch.setenv("AIRFLOW__HINDSIGHT__LISTENER", "True")
    monkeypatch.setenv("AIRFLOW__HINDSIGHT__DAG_IDS", wanted)
    text = (
        HEAD
        + """
@task
def train():
    return 1

with DAG("pipeline") as flow:
    train()
"""
    )
    assert flows.test(text) == {"train": "success"}
    assert set(flows.runs()) == found if flows.store_folder.exists() else not found


def secrets_in(flows: Flows) -> list[str]:
    """Files of the store that hold the secret of these tests."""
    files = (path for path in flows.store_folder.rglob("*") if path.is_file())
    return [str(path) for path in files if b"hunter2" in path.read_bytes()]
