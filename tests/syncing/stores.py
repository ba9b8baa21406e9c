"""Stores to synchronise, written by the real recorder, and what must hold of the target at any moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tracker
from tracker.code.verification import check_snapshot
from tracker.record.run import Run
from tracker.replay.kinds import ALL_KINDS
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.verify import Report, verify

SCRIPT = """
import numpy as np
import tracker
lr = tracker.arg("lr", 0.1)
net = {"w": np.arange(400.0)}
with tracker.checkpointing(net=net):
    for epoch in tracker.loop("epoch", range(3)):
        for step in tracker.loop("step", range(4)):
            net["w"] = net["w"] * lr + step
            tracker.log("loss", float(net["w"].sum()))
        tracker.log("accuracy", epoch / 3)
"""
PROBE = SCRIPT.replace(
    """tracker.log("accuracy\"""",
    """tracker.log("norm", float(abs(net["w"]).sum()))
        tracker.log("accuracy\"""",
)


def project_store(folder: Path) -> Path:
    """A store with all that there can be: two versions of a git project, checkpoints, and a replay's answers."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HINDSIGHT_", "GIT_"))}
    environment |= {"HINDSIGHT_CHECKPOINTS": "all", "GIT_CONFIG_GLOBAL": os.devnull}
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")

    def start(*command: str) -> None:
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=300)

    start("git", "init", "-q")
    for version in ("", "# second\n"):
        (folder / "train.py").write_text(SCRIPT + version)
        start("git", "add", "train.py")
        start("git", *identity, "commit", "-qm", "version")
        start(sys.executable, "train.py", "--kwargs", f"lr=0.{1 + len(version)}")
    (folder / "train.py").write_text(PROBE)
    start(sys.executable, "-m", "tracker", "replay", "norm", "--yes")
    return folder / ".hindsight"


def copy_of(store: Path, folder: Path) -> Path:
    """A copy of a store, which is a store."""
    shutil.copytree(store, folder)
    return folder


def small_run(store: Path | str, *, seed: int = 0, name: str | None = None) -> str:
    """The id of a run with two loops, checkpoints of its own and one that all runs share."""
    generator = np.random.default_rng(seed)
    with tracker.run(name, project="sync", store=store, capture=(), checkpoints="all") as run:
        tracker.arg("seed", seed)
        own, shared = {"w": generator.random(12_000)}, {"w": np.arange(12_000.0)}
        with tracker.checkpointing(own=own, shared=shared):
            for epoch in tracker.loop("epoch", range(2)):
                for step in tracker.loop("step", range(3)):
                    tracker.log("loss", seed + epoch + step / 10)
    return run.id


def tiny_run(store: Path | str, launch: str) -> None:
    """A run with one of everything, and no more: for tests that go through every request."""
    with tracker.run(project="sync", store=store, capture=(), checkpoints="all", launch_key=launch):
        own = {"w": np.arange(600.0)}
        with tracker.checkpointing(own=own):
            for epoch in tracker.loop("epoch", range(1)):
                tracker.log("loss", epoch)


@contextmanager
def open_run(store: Path, **settings: Any) -> Iterator[Run]:
    """A run in this process, with all that its beginning writes in the background."""
    with tracker.run(store=store, capture=(), **settings) as run:
        start = store / keys.attempt_document(run.id, run.attempt, "start")
        deadline = time.monotonic() + 60
        while not start.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        yield run


def report_of(store: Store) -> Report:
    """What ``hindsight verify`` finds."""
    return verify(
        store, kinds=ALL_KINDS, check_code=lambda store, snapshot: check_snapshot(store, snapshot, objects=False)
    )


def sound(store: Store) -> bool:
    """Whether nothing in a store is missing or damaged."""
    report = report_of(store)
    assert report.ok, report.problems
    return report.ok


def contents(store: Store) -> dict[str, bytes]:
    """Every key but the format, the index, and holds of writers that were killed, with its bytes."""
    own = [info.key for info in store.list() if not info.key.startswith((keys.INDEX, keys.HOLDS))]
    return {key: store.get(key) for key in own if key not in ("format.json", ".gitignore")}
