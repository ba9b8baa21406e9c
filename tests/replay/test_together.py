"""Replays that are killed again and again, at random moments, alone and beside each other."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.replay.programs import Project, logged, make_project, program
from tracker.replay.documents import SliceResult
from tracker.replay.slices import DONE
from tracker.store.documents import decode

BODY = """
import time
import numpy as np
import tracker

seed = tracker.arg("seed", 0)
rng = np.random.default_rng(seed)
w = np.zeros(3)
with tracker.checkpointing(w=w):
    for epoch in tracker.loop("epoch", range(4)):
        for step in tracker.loop("step", range(5)):
            w += rng.normal(size=3)
            time.sleep(0.02)
            tracker.log("loss", float(w.sum()))
            # inner
"""
ASK = """
import sys, tracker
done = tracker.replay("probe", store=sys.argv[1], workers=2)
print(*sorted(result.outcome for result in done.results.values()))
"""
RUNS = 3


@dataclass
class Asking:
    """Orchestrating processes over a project, and the folder in which all their workspaces lie."""

    project: Project
    temporary: Path

    def start(self) -> subprocess.Popen[str]:
        """Begin to ask, in a process of its own."""
        command = [sys.executable, "-c", ASK, str(self.project.url)]
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        return subprocess.Popen(command, cwd=self.project.folder, env=environment, stdout=subprocess.PIPE, text=True)

    def ask(self) -> list[str]:
        """Ask to the end: the outcomes."""
        process = self.start()
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return output.split()

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Processes of workspaces."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            text = " ".join(process.info["cmdline"] or ())
            if str(self.temporary) in text and word in text:
                found.append(process)
        return found

    def programs(self) -> list[psutil.Process]:
        """The processes that execute the recorded program, not those that guard them."""
        return [process for process in self.processes("train.py") if "guard.py" not in " ".join(process.cmdline())]

    def results(self) -> dict[str, bytes]:
        """The results that are done, by key."""
        store = self.project.store
        keys = [info.key for info in store.list("replays/") if "/slices/" in info.key]
        found = {key: store.get(key) for key in keys}
        return {key: data for key, data in found.items() if decode(data, SliceResult, key=key).outcome in DONE}

    def wait_until_gone(self) -> None:
        """Return when no process is left; a failure after a long time."""
        end = time.monotonic() + 60
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)
        assert self.processes() == []


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    """Three runs of a program, and a probe that they lack."""
    project = make_project(tmp_path)
    project.commit(program(BODY))
    for seed in range(RUNS):
        project.record(f"seed={seed}")
    project.commit(program(BODY, inner='tracker.log("probe", float(w.max()) + step)'))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    made = Asking(project, temporary)
    yield made
    made.wait_until_gone()


def truth(project: Project) -> list[tuple[Any, ...]]:
    """Of all runs together."""
    rows = [row for seed in range(RUNS) for row in logged(project, "probe", seed=seed)]
    return sorted((row["epoch"], row["step"], value) for row, value in rows)


@pytest.mark.parametrize("kills", [pytest.param(3, id="quick"), pytest.param(25, id="full", marks=pytest.mark.slow)])
def test_a_killed_replay_is_taken_up_where_it_was(asking: Asking, kills: int) -> None:
    """At random moments: what was done stays as it is, asking again does the rest, and no process is left behind."""
    chance = random.Random(kills)
    done: dict[str, bytes] = {}
    for _ in range(kills):
        process = asking.start()
        time.sleep(chance.uniform(0.2, 3.0))
        process.kill()
        process.communicate()
        asking.wait_until_gone()
        assert done.items() <= asking.results().items()
        done = asking.results()

    asking.ask()

    assert done.items() <= asking.results().items()
    assert len(asking.results()) == RUNS
    assert asking.project.values("probe", "epoch", "step") == truth(asking.project)
    assert asking.project.fidelities("probe") == {"exact"}


def test_a_killed_guard_costs_its_slice_alone(asking: Asking) -> None:
    """Its program does not outlive it, the others go on, and asking again does the slice."""
    process = asking.start()
    while not (found := asking.programs()):
        assert process.poll() is None
    (found[0].parent() or found[0]).kill()
    output, _ = process.communicate(timeout=120)

    again = asking.ask()

    assert sorted(output.split()) == ["answered"] * (RUNS - 1) + ["failed"]
    assert again.count("answered") == len(again)
    assert asking.project.values("probe", "epoch", "step") == truth(asking.project)


def test_one_of_two_replays_is_killed(asking: Asking) -> None:
    """The other one ends well; what both did is there once."""
    together = [asking.start(), asking.start()]
    time.sleep(random.Random(7).uniform(0.5, 2.0))
    together[0].kill()

    outputs = [process.communicate(timeout=120)[0].split() for process in together]

    assert set(outputs[1]) <= {"answered"}
    asking.ask()
    assert asking.project.values("probe", "epoch", "step") == truth(asking.project)
    assert asking.project.fidelities("probe") == {"exact"}
