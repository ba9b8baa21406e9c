"""`@tracked` above and below `@flow` and `@task`, on a real server: who is a run, whose child, and which attempt."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import INPUTS, NO_CACHE
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed, State
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from tracker.decorators import tracked

import tracker
from tests.prefect.conftest import PrefectServer, runs_of

pytestmark = [
    pytest.mark.usefixtures("server"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # sockets of Prefect's own clients
]


def by_function(store: str) -> dict[str, Any]:
    """The runs of a store by the function that they are; the last of each."""
    found = {}
    for run in runs_of(store):
        assert run.start is not None
        assert run.start.entry.function is not None
        found[run.start.entry.function.rpartition(".")[2]] = run
    return found


def test_a_flow_and_its_tasks_are_runs_and_children(store: str, server: PrefectServer) -> None:
    """Above and below the decorator alike; the engine's identity is recorded."""

    @task
    @tracked
    def below(x: int) -> int:
        tracker.log("below", x)
        return x + 1

    @tracked
    @task(tags=["gpu"])
    def above(x: int) -> int:
        tracker.log("above", x)
        return x + 1

    @tracked(tags=["nightly"])
    @flow(name="training", flow_run_name="training-{x}")
    def train(x: int) -> int:
        tracker.log("sum", x)
        return below(x) + above(x)

    assert train(2) == 6

    found = by_function(store)
    parent = found["train"]
    assert {run.status for run in found.values()} == {"finished"}
    assert [found[name].parent for name in ("below", "above", "train")] == [parent.run, parent.run, None]
    assert [found[name].arguments for name in ("below", "above", "train")] == [{"x": 2}] * 3
    assert (parent.name, parent.tags, found["above"].tags) == ("training-2", ("nightly",), ("gpu",))
    assert parent.start is not None
    told = parent.start.orchestrator
    assert (told["engine"], told["flow"], told["run_count"]) == ("prefect", "training", 1)
    with get_client(sync_client=True) as client:
        (link,) = client.request(
            "POST", "/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [told["flow_run_id"]]}}}
        ).json()
    assert (link["type"], f"{store}/runs/{parent.run}/" in link["data"]) == ("markdown", True)
    assert told["url"] == f"http://127.0.0.1:{server.port}/runs/flow-run/{told['flow_run_id']}"
    assert tracker.dataframe("above", "returned", store=store)[["above", "returned"]].dropna().values.tolist() == [
        [2, 3]
    ]


def test_retries_are_attempts_of_one_run(store: str) -> None:
    """Those of a task, and those of a flow; the tasks that a retried flow calls anew are its children, too."""
    tries = {"task": 0, "flow": 0}

    @tracked
    @task(retries=2, cache_policy=NO_CACHE)
    def fragile() -> str:
        tries["task"] += 1
        tracker.log("try", tries["task"])
        if tries["task"] < 3:
            raise ValueError(f"try {tries['task']}")
        return "done"

    @flow(retries=1)
    @tracked
    def pipeline() -> str:
        tries["flow"] += 1
        result = fragile()
        if tries["flow"] < 2:
            raise ValueError("once")
        return result

    assert pipeline() == "done"

    found = by_function(store)
    assert [attempt.status for attempt in found["pipeline"].attempts] == ["failed", "finished"]
    children = [run for run in runs_of(store) if run.parent is not None]
    assert {run.parent for run in children} == {found["pipeline"].run}
    assert [attempt.status for attempt in children[0].attempts[:3]] == ["failed", "failed", "finished"]
    assert tracker.dataframe("try", store=store)["try"].tolist()[0] == 3


def test_submitted_and_mapped_tasks_are_runs_of_their_own(store: str) -> None:
    """In the threads of a runner, too, each is the flow's child with its own arguments; `with_options` keeps it."""

    @tracked
    @task
    def square(x: int) -> int:
        tracker.log("square", x * x)
        return x * x

    @tracked
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=3))
    def squares() -> int:
        single = square.with_options(name="single").submit(10)
        return sum(square.map([1, 2, 3]).result()) + single.result()

    assert squares() == 114

    parent = by_function(store)["squares"]
    children = [run for run in runs_of(store) if run.parent == parent.run]
    assert sorted(run.arguments["x"] for run in children) == [1, 2, 3, 10]
    assert sorted(tracker.dataframe("square", store=store)["square"].tolist()) == [1, 4, 9, 100]


def test_async_flows_keep_their_tasks_apart(store: str) -> None:
    """Tasks that wait at the same time log into their own runs."""

    @tracked
    @task
    async def wait(x: int) -> int:
        for i in tracker.loop("i", range(3)):
            await asyncio.sleep(0)
            tracker.log("value", x + i)
        return x

    @flow
    @tracked
    async def together() -> list[int]:
        return list(await asyncio.gather(wait(10), wait(20)))

    assert asyncio.run(together()) == [10, 20]

    parent = by_function(store)["together"]
    frame = tracker.dataframe("i", "value", store=store)
    assert [group["value"].tolist() for _, group in sorted(frame.groupby("run"))] == [[10, 11, 12], [20, 21, 22]]
    assert {run.parent for run in runs_of(store)} == {None, parent.run}


def test_a_subflow_is_a_child_and_has_children(store: str) -> None:
    """Called from a task it is the innermost place; generators and plain helpers work in it."""

    @tracked
    def helper(x: int) -> int:
        return x * 2

    @tracked
    @task
    def numbers() -> Any:
        yield from (1, 2)

    @tracked
    @flow
    def inner() -> int:
        return sum(helper(x) for x in numbers())

    @tracked
    @task
    def middle() -> int:
        return int(inner())

    @tracked
    @flow
    def outer() -> int:
        return middle()

    assert outer() == 6

    found = by_function(store)
    assert set(found) == {"outer", "middle", "inner", "numbers"}
    parents = {name: run.parent for name, run in found.items()}
    chain = {"outer": None, "middle": found["outer"].run, "inner": found["middle"].run, "numbers": found["inner"].run}
    assert parents == chain
    assert tracker.dataframe("helper.x", store=store)["helper.x"].tolist() == [1, 2]


def test_a_cached_task_has_one_run(store: str) -> None:
    """Where Prefect does not execute the function there is nothing to record."""

    @tracked
    @task(cache_policy=INPUTS, persist_result=True)
    def slow(x: str) -> str:
        return x

    @flow
    def twice(word: str) -> list[State[Any]]:
        return [slow(word, return_state=True).name, slow(word, return_state=True).name]

    assert twice(store) == ["Completed", "Cached"]
    assert len(runs_of(store)) == 1


def test_tasks_in_processes_are_children_of_their_flow(store: str) -> None:
    """The flow's run is found by its launch key there."""

    @tracked
    @task
    def square(x: int) -> int:
        tracker.log("square", x * x)
        return x * x

    @tracked
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def squares() -> int:
        return sum(square.map([1, 2]).result())

    assert squares() == 5

    parent = by_function(store)["squares"]
    assert [run.parent for run in runs_of(store) if run.arguments] == [parent.run] * 2
    assert sorted(tracker.dataframe("square", store=store)["square"].tolist()) == [1, 4]


def test_failures_and_states_are_what_they_are_without_us(store: str) -> None:
    """An exception goes through; a returned state says how the run ended, also where nothing was raised."""
    problem = ValueError("no data")

    @tracked
    @flow
    def failing() -> None:
        raise problem

    @tracked
    @flow
    def stating() -> State[Any]:
        return Completed(message="enough")

    @task
    def breaking(fails: bool) -> None:
        if fails:
            raise problem

    @tracked
    @flow
    def giving_up() -> State[Any]:
        return Failed(message="no use")

    @tracked
    @flow
    def gathering() -> list[PrefectFuture[Any]]:
        return [breaking.submit(fails) for fails in (False, True)]

    @tracked
    @flow
    async def calling_off() -> State[Any]:
        return Cancelled()

    with pytest.raises(ValueError, match="no data"):
        failing()
    assert stating(return_state=True).message == "enough"
    assert [each(return_state=True).type.name for each in (giving_up, gathering)] == ["FAILED", "FAILED"]
    assert asyncio.run(calling_off(return_state=True)).type.name == "CANCELLED"

    found = by_function(store)
    names = ("failing", "stating", "giving_up", "gathering", "calling_off")
    assert [found[name].status for name in names] == ["failed", "finished", "failed", "failed", "killed"]
    assert found["giving_up"].attempts[0].end.error.endswith("Failed: no use")
    assert found["gathering"].attempts[0].end.error == "ValueError: no data"


def test_a_store_that_is_away_does_not_change_a_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once, and the flow runs."""
    monkeypatch.setenv("HINDSIGHT_STORE", "/proc/nowhere/store")

    @tracked
    @flow
    def pipeline(x: int) -> int:
        return x + 1

    with warnings.catch_warnings(record=True) as caught:  # not `pytest.warns`: sockets of Prefect's own warn, too
        warnings.simplefilter("always")
        assert pipeline(1) == 2
    assert [each.category for each in caught if "is not tracked" in str(each.message)] == [RuntimeWarning]


def test_the_block_is_asked_for_only_where_nothing_else_names_a_store(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its credentials nor its being there matter to a flow with a store of its own, and to its tasks."""
    monkeypatch.setenv("HINDSIGHT_STORE", "")
    monkeypatch.setenv("HINDSIGHT_PREFECT_BLOCK", "there-is-none")

    @tracked
    @task
    def child(x: int) -> int:
        return x + 1

    @tracked(store=str(tmp_path / "own"))
    @flow
    def parent(x: int) -> int:
        return child(x)

    assert parent(2) == 3

    found = by_function(str(tmp_path / "own"))
    assert found["child"].parent == found["parent"].run
