"""Collections without any grace beside processes that record: what a document names is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tracker
from tests import servers
from tests.syncing.stores import report_of, small_run
from tracker.replay.kinds import ALL_KINDS
from tracker.store.base import Store
from tracker.store.open import open_store
from tracker.syncing.stores import sync
from tracker.upkeep import retention_sweep
from tracker.upkeep.reachability import read_graph
from tracker.upkeep.removal import remove_runs
from tracker.upkeep.retention import Policy
from tracker.upkeep.retention_gc import collect

pytestmark = pytest.mark.slow

# Few different tensors, and no run keeps them for long: writers find payloads that nothing names any more.
WRITER = """
import random, sys
import numpy as np
import tracker
chance = random.Random(int(sys.argv[2]))
for number in range(int(sys.argv[3])):
    with tracker.run(project="live", store=sys.argv[1], capture=("code",), checkpoints="all"):
        net = {}
        with tracker.checkpointing(net=net):
            for epoch in tracker.loop("epoch", range(2)):
                for name in "abcdefghijkl":
                    net[name] = np.random.default_rng(chance.randrange(40)).random(9_000)
                tracker.log("loss", epoch)
"""
NOTHING = Policy(grace_s=0)


@pytest.fixture
def _exact_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All clocks are the same here, so payloads of a moment ago may go."""
    monkeypatch.setattr(retention_sweep, "SKEW_S", 0.0)
    monkeypatch.setattr(retention_sweep, "CLOCK_S", 0.0)


def writers(url: str, folder: Path, runs: int, *, count: int = 2) -> list[subprocess.Popen[bytes]]:
    """Processes that record; their code is a file, so that snapshots are shared, too."""
    (folder / "train.py").write_text(WRITER)
    words = [sys.executable, "train.py", url]
    return [subprocess.Popen([*words, str(seed), str(runs)], cwd=folder) for seed in range(count)]


def collect_beside(store: Store, processes: list[subprocess.Popen[bytes]]) -> None:
    """Remove every run that has ended and collect at once, as long as somebody writes."""
    rounds = 0
    while any(process.poll() is None for process in processes):
        needed = read_graph(store, ALL_KINDS).needed()
        assert needed <= {info.key for info in store.list()}
        ended = [view.run for view in tracker.runs(store=store) if view.status == "finished"]
        remove_runs(store, ended[:-1] if rounds % 3 else ended)
        collect(store, NOTHING, dry_run=False)
        rounds += 1
    assert [process.returncode for process in processes] == [0] * len(processes)


def all_is_there(store: Store) -> bool:
    """Whether the store is sound, and the last state of every run with checkpoints can be loaded."""
    report = report_of(store)
    assert report.ok, report.problems
    for view in tracker.runs(store=store):
        assert view.code is not None
        assert view.code.snapshot is not None, view.code.problem
        assert tracker.load_checkpoint(view.run, store=store)["net"]["a"].shape == (9_000,)
    return True


@pytest.mark.usefixtures("_exact_clocks")
def test_nothing_that_is_named_is_lost(tmp_path: Path) -> None:
    """Writers find payloads that a collection is about to delete, again and again."""
    store = open_store(tmp_path / "store")

    collect_beside(store, writers(store.url, tmp_path, 8))

    assert all_is_there(store)
    assert not list(store.list("holds/"))
    assert not list(store.list("sweeps/"))


COPIER = """
import sys
from tracker.syncing.stores import sync
for number in range(int(sys.argv[3])):
    assert sync(sys.argv[1], sys.argv[2], restore=True, full=True).complete
"""


@pytest.mark.usefixtures("_exact_clocks")
def test_a_copy_under_way_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync brings objects before the documents that name them, and relies on those that are there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for seed in range(6):
        small_run(tmp_path / "source", seed=seed)
    store = open_store(tmp_path / "target")
    words = [sys.executable, "-c", COPIER, str(tmp_path / "source"), store.url, "12"]

    collect_beside(store, [subprocess.Popen(words)])

    sync(tmp_path / "source", store, restore=True, full=True)
    assert len(tracker.runs(store=store)) == 6
    assert report_of(store).ok


@pytest.mark.s3
def test_on_a_server(moto_server: servers.Server, bucket: str, tmp_path: Path, monkeypatch: Any) -> None:
    """The same over S3, where times have seconds and nothing can be renamed."""
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HINDSIGHT_SPOOL", str(tmp_path / "spool"))
    store = open_store(f"s3://{bucket}/live")

    collect_beside(store, writers(store.url, tmp_path, 4))

    assert all_is_there(store)
