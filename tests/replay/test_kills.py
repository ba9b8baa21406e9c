"""Replays whose processes are killed, and replays that meet: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.replay.programs import Project, make_project, program, truth
from tracker.replay.asking import execute, plan_replay, read_replay, replay
from tracker.replay.documents import Question
from tracker.replay.planning import make_plan

TRAIN = """
import time
import numpy as np
import tracker

rng = np.random.default_rng(int(tracker.arg("seed", 1)))
w = np.zeros(3)
with tracker.checkpointing(w=w):
    for epoch in tracker.loop("epoch", range(3)):
        for step in tracker.loop("step", range(4)):
            w += rng.normal(size=3)
            tracker.log("loss", float(w.sum()))
            time.sleep(0.05)
            # inner
"""
PROBE = 'tracker.log("probe", float(w.max()))'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Three runs with other seeds, and a probe in today's code."""
    monkeypatch.setenv("PYTEST_TRUTH", str(tmp_path))
    found = make_project(tmp_path)
    found.commit(program(TRAIN))
    for seed in (1, 2, 3):
        found.record(f"seed={seed}")
    found.commit(program(TRAIN, inner=PROBE))
    return found


def begin(project: Project) -> subprocess.Popen[bytes]:
    """The command that asks, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tracker",
        "replay",
        "probe",
        "--yes",
        "--workers",
        "2",
        "--store",
        str(project.url),
    ]
    return subprocess.Popen(command, cwd=project.folder, env=dict(os.environ), stderr=subprocess.DEVNULL, stdout=-3)


def wanted() -> list[tuple[Any, ...]]:
    """All answers for all three runs."""
    source = program(TRAIN, inner=PROBE)
    return sorted(row for seed in (1, 2, 3) for row in truth(source, "probe", "epoch", "step", seed=seed))


def results(project: Project) -> dict[str, float]:
    """The result documents by name, with the times at which they were written."""
    return {str(path): path.stat().st_mtime_ns for path in project.url.glob("replays/*/slices/*.json")}


def children_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _runs_script(process: psutil.Process) -> bool:
    """Whether it is the user's program, and not what watches over it."""
    try:
        return any(part.endswith("train.py") for part in process.cmdline()[1:2])  # empty once it has ended
    except psutil.Error:
        return False


@pytest.mark.parametrize("done_before", [0, 1, 2])
def test_a_killed_replay_is_taken_up(project: Project, done_before: int) -> None:
    """Killed when so many slices were done: asked again, it does the others, and leaves no process behind."""
    process = begin(project)
    deadline = time.monotonic() + 60
    while (len(results(project)) < done_before or not children_of(process)) and time.monotonic() < deadline:
        time.sleep(0.01)
    children = children_of(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = results(project)
    psutil.wait_procs(children, timeout=10)
    left = [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]

    assert begin(project).wait(120) == 0

    assert left == []
    assert {name: results(project)[name] for name in kept} == kept
    assert project.values("probe", "epoch", "step") == wanted()
    assert project.fidelities("probe") == {"exact"}
    assert len({Path(name).parents[1] for name in results(project)}) == 1  # one replay, taken up


def test_a_killed_worker_fails_alone(project: Project) -> None:
    """Its slice says so, the others have answers, and asking again does the one that is left."""
    process = begin(project)
    deadline = time.monotonic() + 60
    victims: list[psutil.Process] = []
    while not victims and time.monotonic() < deadline:
        victims = [child for child in children_of(process) if _runs_script(child)]
    victims[0].kill()
    code = process.wait(120)

    (folder,) = project.url.glob("replays/*")
    first = read_replay(project.store, folder.name)
    assert code == 1
    assert sorted(result.outcome for result in first.results.values()) == ["answered", "answered", "failed"]

    assert begin(project).wait(120) == 0
    assert project.values("probe", "epoch", "step") == wanted()


def test_asking_twice_gives_one_answer(project: Project) -> None:
    """The second time there is nothing to execute."""
    project.replay("probe", workers=2)
    before = results(project)

    again = project.replay("probe")

    assert again.plan.slices == ()
    assert all("answered by replay" in (run.skipped or "") for run in again.plan.runs)
    assert results(project) == before
    assert project.values("probe", "epoch", "step") == wanted()


def test_two_replays_at_once_agree(project: Project) -> None:
    """Both end well, whoever files first, and every context has one value."""
    processes = [begin(project), begin(project)]

    assert [process.wait(180) for process in processes] == [0, 0]
    assert project.values("probe", "epoch", "step") == wanted()
    assert project.fidelities("probe") == {"exact"}


def test_a_plan_is_data(project: Project) -> None:
    """What is planned on one machine is executed by any other that has the store: the plan is one JSON document."""
    planned = plan_replay(project.store, Question(names=("probe",)), root=project.folder, workers=3)
    done = replay("probe", root=project.folder, store=project.url, workers=3)
    document = json.loads((project.url / "replays" / done.id / "plan.json").read_text())

    assert [piece["run"] for piece in document["slices"]] == [piece.run for piece in planned.plan.slices]
    assert document["workers"] == 3


def test_what_ends_while_it_is_asked_again_is_not_done_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs of a killed replay may end between the look at the answers and the look for a replay to take up."""
    question = Question(names=("probe",))
    first = plan_replay(project.store, question, root=project.folder, workers=2)
    plans = []

    def slow(*args: Any, **kwargs: Any) -> Any:
        plans.append(make_plan(*args, **kwargs))
        execute(project.store, first)
        return plans[-1]

    monkeypatch.setattr("tracker.replay.asking.make_plan", slow)
    again = plan_replay(project.store, question, root=project.folder, workers=2)

    assert [bool(plan.slices) for plan in plans] == [True, False]
    assert not again.waiting
