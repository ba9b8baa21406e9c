"""Past runs of Prefect are asked new questions: by the scheduled flow, from the store alone, without a server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from tracker.decorators.prefect_flows import hindsight_replay

import tracker
from tests.prefect.conftest import Flows
from tests.replay.recorded import TRAIN, Project
from tracker.replay.watching import find_new_probes

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


def test_the_flow_asks_what_is_new_on_a_branch(tmp_path: Path) -> None:
    """Runs of two versions, a probe that is pushed, and the repository of the runs gone: exact, and asked once."""
    timed = TRAIN + "import os\ntracker.log('pid', os.getpid())  # never the same\n"
    project = Project.make(tmp_path, timed.format(seed=1))
    project.record()
    project.repo.write("train.py", timed.format(seed=2))
    project.repo.commit("second")
    project.record()
    project.repo.write("train.py", project.probed("grad =", "tracker.log('grad_norm', abs(grad))"))
    project.repo.commit("a probe")
    project.repo.git("clone", "-q", "--bare", str(project.repo.folder), str(tmp_path / "pushed.git"))
    shutil.rmtree(project.repo.folder)

    pushed, ignore = str(tmp_path / "pushed.git"), ["pid"]
    states = hindsight_replay(repository=pushed, ignore=ignore, store=project.store.url, workers=2)

    assert list(states.values()) == ["exact", "exact"]
    assert len(answers(tmp_path / "store", "epoch", "step", "grad_norm")) == 2 * 20
    assert hindsight_replay(repository=str(tmp_path / "pushed.git"), store=project.store.url) == {}
    assert find_new_probes(tmp_path / "pushed.git", "main", project.store).names == ()
    (replay,) = (folder.name for folder in (tmp_path / "store" / "replays").iterdir())
    about = f"hindsight-replay-{replay}"
    assert artifacts(replay) == {about: "markdown", f"{about}-runs": "table", f"{about}-plan": "markdown"}


def test_a_run_without_an_answer_fails_the_flow(tmp_path: Path) -> None:
    """The others have theirs, and the name is asked again the next time."""
    code = TRAIN.format(seed=1).replace("random.seed(1)", "lr = tracker.arg('lr', 1)\nrandom.seed(lr)")
    project = Project.make(tmp_path, code)
    project.record()
    project.record("--kwargs", "lr=2")
    project.repo.write("train.py", project.probed("grad =", "tracker.log('grad_norm', abs(grad) / (2 - lr))"))
    project.repo.commit("a probe")
    repository = str(project.repo.folder)

    state = hindsight_replay(repository=repository, store=project.store.url, return_state=True)

    assert state.is_failed()
    assert "1 of 2 runs have no answer" in str(state.message)
    assert {row[-1] for row in answers(tmp_path / "store", "grad_norm")} == {"exact"}
    assert find_new_probes(repository, "main", project.store).names == ("grad_norm",)


def artifacts(replay: str) -> dict[str, str]:
    """The artifacts that tell of a replay, key to type; links are markdown to Prefect."""
    with get_client(sync_client=True) as client:
        return {str(each.key): str(each.type) for each in client.read_artifacts() if replay in str(each.key)}
