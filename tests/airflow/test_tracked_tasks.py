"""``@tracked`` above and below ``@task``, in tasks that Airflow executes."""

from __future__ import annotations

import pytest

from tests.airflow.flows import IS_AIRFLOW_3, Flows
from tracker.read.catalog import scan

HEAD = """
from airflow.sdk import dag, task
from airflow.providers.common.compat.sdk import AirflowSkipException
import tracker
from tracker.decorators import tracked
"""


@pytest.mark.parametrize("decorators", ["@tracked\n@task", "@task\n@tracked", "@task.tracked"])
def test_a_task_is_a_run(flows: Flows, decorators: str) -> None:
    """Arguments by name, the result, what it logs, and where Airflow shows it; the next task gets its result."""
    text = (
        HEAD
        + decorators
        + """
def train(lr, epochs=2):
    for epoch in tracker.loop("epoch", range(epochs)):
        tracker.log("loss", lr / (epoch + 1))
    return lr * 2

@task
def after(value):
    assert value == 1.0

@dag(dag_id="pipeline")
def build():
    after(train(0.5))

flow = build()
"""
    )
    assert flows.test(text) == {"train": "success", "after": "success"}

    (run,) = flows.runs().values()
    assert (run.document.name, run.status, run.document.tags) == ("train", "finished", ("dag:pipeline",))
    assert run.arguments == {"lr": 0.5, "epochs": 2}
    assert flows.frame("epoch", "loss")["loss"].tolist() == [0.5, 0.25]
    assert flows.frame("returned")["returned"].tolist() == [1.0]
    start = run.attempts[0].start
    assert start is not None
    assert start.orchestrator["dag_id"] == "pipeline"
    assert start.entry.function is not None
    assert start.entry.function.endswith(":train")
    assert run.document.launch_key == f"airflow/pipeline/{start.orchestrator['run_id']}/train/-1"


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 knows no such tasks")
@pytest.mark.parametrize("decorators", ["@tracked\n@task", "@task\n@tracked", "@task.tracked"])
def test_an_async_task_is_a_run(flows: Flows, decorators: str) -> None:
    """From its first line to its last, also what it logs after having waited."""
    text = (
        HEAD
        + "import asyncio\n"
        + decorators
        + """
async def train(lr):
    await asyncio.sleep(0.01)
    tracker.log("loss", lr)
    return lr * 2

@dag(dag_id="pipeline")
def build():
    train(0.5)

flow = build()
"""
    )
    assert flows.test(text) == {"train": "success"}

    (run,) = flows.runs().values()
    assert (run.document.name, run.status, run.arguments) == ("train", "finished", {"lr": 0.5})
    assert run.summary == {"loss": 0.5, "returned": 1.0}


def test_airflows_that_share_a_store(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their runs stay apart: a name tells them, or the address of their pages."""
    text = (
        HEAD
        + """
@task.tracked
def train():
    return 1

@dag(dag_id="pipeline")
def build():
    train()

flow = build()
"""
    )
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://user:word@airflow.example:8443/a/")
    flows.test(text)
    monkeypatch.setenv("AIRFLOW__HINDSIGHT__DEPLOYMENT", "team b")
    flows.test(text)

    own = sorted(str(run.document.launch_key).partition("/pipeline/")[0] for run in scan(flows.store))
    assert own == ["airflow@airflow.example:8443/a", "airflow@team b"]


def test_retries_are_attempts_of_one_run(flows: Flows) -> None:
    """The first try fails and the second succeeds: one run, with both."""
    text = (
        HEAD
        + """
@tracked
@task(retries=2, retry_delay=0)
def train(ti=None, **context):
    tracker.log("tried", ti.try_number)
    if ti.try_number == 1:
        raise ValueError("not yet")

@dag(dag_id="pipeline")
def build():
    train()

flow = build()
"""
    )
    text = text.replace("retry_delay=0", "retry_delay=__import__('datetime').timedelta(0)")

    assert flows.test(text) == {"train": "success"}

    (run,) = flows.runs().values()
    assert run.status == "finished"
    assert [attempt.end and attempt.end.status for attempt in run.attempts] == ["failed", "finished"]
    assert "not yet" in str(run.attempts[0].end and run.attempts[0].end.error)


def test_mapped_tasks_are_runs_each(flows: Flows) -> None:
    """``.expand`` and ``.partial`` keep working, and a task that takes all results gets them."""
    text = (
        HEAD
        + """
@tracked
@task
def train(lr, scale):
    return lr * scale

@tracked
@task
def best(results):
    return max(results)

@dag(dag_id="pipeline")
def build():
    best(train.partial(scale=10).expand(lr=[1, 2, 3]))

flow = build()
"""
    )
    states = flows.test(text)

    assert set(states.values()) == {"success"}
    runs = flows.runs()
    assert set(runs) == {"train[0]", "train[1]", "train[2]", "best"}
    assert runs["train[2]"].arguments == {"lr": 3, "scale": 10}
    assert flows.frame("returned")["returned"].max() == 30


def test_a_skipped_task_has_finished_and_a_failed_one_has_failed(flows: Flows) -> None:
    """With the last line of its traceback."""
    text = (
        HEAD
        + """
@task
@tracked
def left_out():
    raise AirflowSkipException("nothing to do")

@task
@tracked
def broken():
    raise RuntimeError("no data")

@dag(dag_id="pipeline")
def build():
    left_out()
    broken()

flow = build()
"""
    )
    assert flows.test(text) == {"left_out": "skipped", "broken": "failed"}

    runs = flows.runs()
    assert runs["left_out"].status == "finished"
    assert runs["broken"].status == "failed"
    assert "no data" in str(runs["broken"].attempts[0].end and runs["broken"].attempts[0].end.error)


def test_objects_of_the_context_are_not_recorded(flows: Flows) -> None:
    """``ti``, connections and the like are given by Airflow; parameters and texts are kept, secrets masked."""
    text = (
        HEAD
        + """
@tracked
@task
def train(lr, ti=None, params=None, api_token="hunter2", **context):
    return params["size"]

@dag(dag_id="pipeline", params={"size": 3})
def build():
    train(0.5)

flow = build()
"""
    )
    assert flows.test(text) == {"train": "success"}

    (run,) = flows.runs().values()
    assert run.arguments["lr"] == 0.5
    assert run.arguments["api_token"] == "***"
    assert "ti" not in run.arguments
    assert "conn" not in run.arguments
    assert not [path for path in flows.store_folder.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
