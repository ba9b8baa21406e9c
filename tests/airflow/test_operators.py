"""``TrackedOperator``, ``tracked(operator)`` and the listener, in tasks that Airflow executes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.airflow.flows import Flows
from tests.code.conftest import Repo

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
"""
    )
    assert flows.test(text) == {"call": "success", "shell": "success", "broken": "failed"}

    runs = flows.runs()
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


def secrets_in(flows: Flows) -> list[str]:
    """Files of the store that hold the secret of these tests."""
    files = (path for path in flows.store_folder.rglob("*") if path.is_file())
    return [str(path) for path in files if b"hunter2" in path.read_bytes()]
