"""Past runs of Prefect are asked new questions: by the scheduled flow, from the store alone, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tracker
from tests.prefect.conftest import Flows

pytestmark = [
    pytest.mark.usefixtures("server"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TASKS = """
import random, sys
from prefect import flow, get_run_logger, task
import tracker
from tracker.decorators import tracked

@tracked
@task(retries=1)
def fit(lr, epochs):
    weight, own = 0.0, random.Random(epochs)
    for epoch in tracker.loop("epoch", range(epochs)):
        for step in tracker.loop("step", range(3)):
            weight += lr * own.random()
            tracker.log("loss", weight)
    return weight

@task
@tracked
async def check(weight):
    get_run_logger().info("checking %s", weight)
    tracker.log("double", 2 * weight)
    return weight

@tracked
@flow
def train(lr: float, epochs: int = 3):
    fitted = fit.submit(lr, epochs)
    others = fit.map([lr, lr / 2], epochs=1)
    tracker.log("sum", fitted.result() + sum(others.result()))

@tracked
@flow
async def checking(weight: float):
    await check(weight)

if __name__ == "__main__":
    import asyncio
    train(0.5)
    asyncio.run(checking(0.25))
"""


def with_probes(flows: Flows, *pairs: tuple[str, str]) -> None:
    """Put lines behind those that contain a text, and commit."""
    path = flows.repo.folder / "flows.py"
    for after, line in pairs:
        old = next(each for each in path.read_text().splitlines() if after in each)
        indent = old[: len(old) - len(old.lstrip())]
        path.write_text(path.read_text().replace(old, f"{old}\n{indent}{line}"))
    flows.repo.commit("probes")


def answers(store: Path | str, *names: str) -> list[list[Any]]:
    """Values with their fidelity, without rows that lack one."""
    frame = tracker.dataframe(*names, "fidelity", store=str(store)).dropna(subset=list(names))
    found: list[list[Any]] = frame[[*names, "fidelity"]].values.tolist()
    return found


def test_tasks_are_called_again_without_a_server(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that was forgotten in a task, one in an async task: exact, from the store alone."""
    flows.write(TASKS)
    flows.run()
    with_probes(
        flows,
        ('tracker.log("loss"', 'tracker.log("rate", lr + weight)'),
        ('log("double"', 'tracker.log("half", weight / 2)'),
    )
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # nobody listens there
    monkeypatch.chdir(flows.repo.folder)

    found = tracker.replay("rate", "half", store=str(flows.store), root=flows.repo.folder, workers=2)
    assert not found.waiting, found.results

    rates = answers(flows.store, "loss", "lr", "rate")
    assert len(rates) == 9 + 3 + 3
    assert all(rate == loss + lr and fidelity == "exact" for loss, lr, rate, fidelity in rates)
    assert answers(flows.store, "half") == [[0.125, "exact"]]
