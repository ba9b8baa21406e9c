"""What every executor of replays must do: one suite of tests, run on each real engine.

A file of an engine's tests subclasses `ExecutorContract`, names the executor, and brings the engine up in ``engine``::

    class TestContract(ExecutorContract):
        executor = "slurm"

        @pytest.fixture
        def engine(self, cluster, monkeypatch):
            monkeypatch.setenv("SLURM_CONF", cluster.configuration)

Replays are asked for in processes of their own, which inherit the environment. Engines must run their workers on this
machine, so that tests can kill what these execute.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.replay.programs import Project, make_project, program, truth
from tracker.record.replaying import ORDER_VARIABLE
from tracker.replay.asking import Replay, plan_replay, read_replay
from tracker.replay.documents import Question, SliceResult
from tracker.replay.executors import executor_named
from tracker.replay.planning import write_plan
from tracker.replay.slices import DONE, run_slice
from tracker.store.open import open_store

TRAIN = """
import os, time
import numpy as np
import tracker

# helper
seed = int(tracker.arg("seed", 1))
rng = np.random.default_rng(seed)
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
WAITING = """
def waited(value, seed):
    while seed > {first} and os.path.exists({gate!r}):
        time.sleep(0.05)
    return value
"""
SEEDS = (1, 2, 3)
PATIENCE_S = 240.0
_begun: list[subprocess.Popen[bytes]] = []  # what a test started, and must not leave behind


class ExecutorContract:
    """Promises of ``tracker.replay.executors.Executor``, for the executor of one name."""

    executor = ""

    @pytest.fixture
    def engine(self) -> None:
        """Bring the engine up, and set the environment that leads to it."""

    @pytest.fixture(scope="class")
    @classmethod
    def recorded(cls, tmp_path_factory: pytest.TempPathFactory) -> Project:
        """Three runs with other seeds, recorded once; tests work on copies."""
        project = make_project(tmp_path_factory.mktemp("recorded"))
        project.commit(program(TRAIN))
        for seed in SEEDS:
            project.record(f"seed={seed}")
        return project

    @pytest.fixture
    def project(self, recorded: Project, tmp_path: Path, engine: None) -> Iterator[Project]:
        """A copy of the runs, and a probe in today's code. Programs that still wait at its end are let go."""
        shutil.copytree(recorded.folder, tmp_path / "project")
        shutil.copytree(recorded.url, tmp_path / "store")
        project = Project(tmp_path / "project", tmp_path / "store")
        project.commit(program(TRAIN, inner=PROBE))
        yield project
        gate_of(project).unlink(missing_ok=True)
        while _begun:
            process = _begun.pop()
            process.kill()
            process.wait()

    def begin(self, project: Project) -> subprocess.Popen[bytes]:
        """The command that asks, in a process of its own."""
        # One worker for each run: where some wait for a file to go, the others must not wait for them.
        own = ["--executor", self.executor, "--workers", str(len(SEEDS)), "--store", str(project.url)]
        command = [sys.executable, "-m", "tracker", "replay", "probe", "--yes", *own]
        with (project.folder.parent / "asking.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=project.folder, stdout=log, stderr=log)
        _begun.append(process)
        return process

    def ask(self, project: Project) -> int:
        """The command that asks, to its end: its exit code."""
        return self.begin(project).wait(PATIENCE_S)

    def execute(self, replay: Replay, project: Project, **options: Any) -> list[SliceResult]:
        """Hand all slices of a replay to the executor; the results that it told."""
        store = open_store(project.url, create=False)
        write_plan(store, replay.plan)
        told: list[SliceResult] = []
        numbers = [piece.number for piece in replay.plan.slices]
        executor_named(self.executor)(store, replay.plan, numbers, on_result=told.append, **options)
        return told

    def test_every_slice_is_told_once_and_answered(self, project: Project, wanted: list[Any]) -> None:
        """All answers are in the store, each of them exact."""
        replay = planned(project)

        told = self.execute(replay, project)

        assert sorted(result.number for result in told) == [piece.number for piece in replay.plan.slices]
        assert {(result.outcome, result.fidelity) for result in told} == {("answered", "exact")}, told
        assert project.values("probe", "epoch", "step") == wanted

    def test_the_store_alone_is_enough(self, project: Project, wanted: list[Any]) -> None:
        """Neither the repository nor today's code is there when slices are executed."""
        replay = planned(project)
        shutil.rmtree(project.folder)

        told = self.execute(replay, project)

        assert {result.fidelity for result in told} == {"exact"}, told
        assert project.values("probe", "epoch", "step") == wanted

    def test_what_is_done_is_not_done_again(self, project: Project) -> None:
        """A slice that has an answer is told as it stands."""
        replay = planned(project)
        write_plan(project.store, replay.plan)
        first = run_slice(project.store, replay.plan, 0)
        before = results(project)

        told = self.execute(replay, project)

        assert next(result for result in told if result.number == 0) == first
        assert before.items() <= results(project).items()

    def test_a_program_that_fails_stops_no_other(self, project: Project) -> None:
        """Its slice says why."""
        project.commit(program(TRAIN, inner='tracker.log("probe", float(w.max()) / (seed - 2))'))

        told = self.execute(planned(project), project)

        assert sorted(result.outcome for result in told) == ["answered", "answered", "failed"], told
        assert "ZeroDivisionError" in "".join(result.output for result in told)

    def test_a_killed_program_leaves_a_slice_to_do(self, project: Project, wanted: list[Any]) -> None:
        """However the engine tells it, the others are answered, and asking again does what is left."""
        shut(project)
        process = self.begin(project)
        victim = wait_for(lambda: next(iter(programs(project)), None), "no program was started", process)
        victim.kill()
        gate_of(project).unlink()

        process.wait(PATIENCE_S)
        assert len(results(project)) >= 2
        self.ask(project)

        assert project.values("probe", "epoch", "step") == wanted
        assert project.fidelities("probe") == {"exact"}

    @pytest.mark.parametrize("done_before", [0, 1])
    def test_a_killed_replay_is_taken_up(self, project: Project, wanted: list[Any], done_before: int) -> None:
        """Killed with SIGKILL when so many slices were done: asked again, it does the others, and nothing twice."""
        shut(project, only_after=done_before)
        process = self.begin(project)
        wait_for(lambda: len(results(project)) >= done_before and programs(project), "no program waits", process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = results(project)
        gate_of(project).unlink()

        assert self.ask(project) == 0
        assert kept.items() <= results(project).items()
        assert project.values("probe", "epoch", "step") == wanted
        assert len({Path(name).parents[1] for name in results(project)}) == 1  # one replay, taken up

    def test_two_that_ask_at_once_agree(self, project: Project, wanted: list[Any]) -> None:
        """Both end well, and every context has one value."""
        processes = [self.begin(project), self.begin(project)]

        assert [process.wait(PATIENCE_S) for process in processes] == [0, 0]
        assert project.values("probe", "epoch", "step") == wanted
        assert project.fidelities("probe") == {"exact"}

    @pytest.fixture
    def wanted(self, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """The answers for all runs, computed without the tracker."""
        monkeypatch.setenv("PYTEST_TRUTH", str(tmp_path))
        source = program(TRAIN, inner=PROBE)
        return sorted(row for seed in SEEDS for row in truth(source, "probe", "epoch", "step", seed=seed))


def planned(project: Project) -> Replay:
    """What is to be done, one slice for each run."""
    replay = plan_replay(project.store, Question(names=("probe",)), root=project.folder, workers=2)
    assert len(replay.plan.slices) == len(SEEDS)
    return replay


def gate_of(project: Project) -> Path:
    """While this file is there, replayed programs wait for it to go."""
    return project.url.parent / "gate"


def shut(project: Project, *, only_after: int = 0) -> None:
    """Let replayed programs wait, but for the runs with the first seeds."""
    gate_of(project).touch()
    helper = WAITING.format(first=only_after, gate=str(gate_of(project)))
    project.commit(program(TRAIN, helper=helper, inner='tracker.log("probe", waited(float(w.max()), seed))'))


def results(project: Project) -> dict[str, int]:
    """The results that are answers, by name, with the times at which they were written."""
    found = {}
    for path in project.url.glob("replays/*/slices/*.json"):
        done = read_replay(project.store, path.parents[1].name).results.get(int(path.stem))
        if done is not None and done.outcome in DONE:
            found[str(path)] = path.stat().st_mtime_ns
    return found


def programs(project: Project) -> list[psutil.Process]:
    """The recorded programs that replays of this store execute at the moment; not what watches over them."""
    found = []
    for process in psutil.process_iter():
        try:
            words, order = process.cmdline(), process.environ().get(ORDER_VARIABLE)
            if order and words[1:] and words[1].endswith("train.py"):
                of = json.loads(Path(order).read_bytes())["store"]
                found += [process] if os.path.realpath(of) == os.path.realpath(project.url) else []
        except (psutil.Error, OSError, ValueError):
            continue
    return found


def wait_for(condition: Callable[[], Any], otherwise: str, process: subprocess.Popen[bytes] | None = None) -> Any:
    """What the condition gives once it is true; a failure when it does not become true, or the process ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(otherwise)
