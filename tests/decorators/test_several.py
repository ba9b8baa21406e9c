"""Scripts that call a tracked function several times: each call is a run, and each is replayed as itself."""

from __future__ import annotations

from pathlib import Path

import msgspec

import tracker
from tests.replay.recorded import Project
from tracker.read.catalog import scan
from tracker.replay.asking import Replay
from tracker.store import keys
from tracker.store.documents import encode

SWEEP = """
import random
import tracker
from tracker.decorators import tracked

@tracked
def train(lr, epochs=3):
    model = {"w": 0.0}
    with tracker.checkpointing(model=model):
        for epoch in tracker.loop("epoch", range(epochs)):
            for step in tracker.loop("step", range(4)):
                model["w"] += lr * random.random()
            tracker.log("loss", model["w"] ** 2)
    return model["w"]

random.seed(3)
for lr in (0.1, 0.2, 0.3):
    train(lr)
    print("done with", lr)
"""


def sweep(folder: Path) -> Project:
    """Three runs of one process."""
    project = Project.make(folder, SWEEP)
    project.record(HINDSIGHT_CHECKPOINTS="all")
    return project


def ask(project: Project) -> Replay:
    """Ask for the argument as the code sees it, which no checkpoint holds."""
    project.repo.write("train.py", project.probed('tracker.log("loss"', 'tracker.log("seen", lr)'))
    found: Replay = tracker.replay("seen", store=project.store, root=project.repo.folder, workers=1)
    return found


def test_every_run_of_a_process_is_replayed_with_its_own_arguments(tmp_path: Path) -> None:
    """The second and third call are not taken for the first, though all come from one script."""
    project = sweep(tmp_path)

    found = ask(project)

    assert [found.state(run) for run in found.plan.runs] == ["exact"] * 3, found.results
    frame = tracker.dataframe("lr", "seen", store=project.store)
    assert frame["seen"].tolist() == frame["lr"].tolist()
    assert sorted(frame["seen"]) == [0.1] * 3 + [0.2] * 3 + [0.3] * 3


def test_a_call_with_another_argument_is_not_exact(tmp_path: Path) -> None:
    """States that were loaded bring the recorded values with them, so arguments are compared, too."""
    project = sweep(tmp_path)
    second = scan(project.store)[1].attempts[0]
    assert second.start is not None
    wrong = msgspec.structs.replace(second.start, ordinal=0)
    project.store.put(keys.attempt_document(second.run, second.attempt, "start"), encode(wrong))

    found = ask(project)

    assert [found.state(run) for run in found.plan.runs] == ["exact", "diverged", "exact"]
    (told,) = found.results_of(second.run)
    assert "argument lr is 0.1, and was 0.2" in told.reason
