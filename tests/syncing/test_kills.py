"""SIGKILL in the middle: what is in the target is sound, and nothing is in neither store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tracker
from tests.syncing.stores import contents, copy_of, project_store, small_run, sound
from tracker.store import durable
from tracker.store.open import open_store
from tracker.syncing.stores import sync

KILLED = """
import os, sys, threading, time
import numpy, pyarrow.parquet  # imported before, so that the moments fall into the work
from tracker.syncing.stores import sync
delay = float(sys.argv[3])
threading.Thread(target=lambda: (time.sleep(delay), os.kill(os.getpid(), 9)), daemon=True).start()
sync(sys.argv[1], sys.argv[2], delete_after=sys.argv[4] == "delete")
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with code, checkpoints and a replay, and a few more runs."""
    store = project_store(tmp_path_factory.mktemp("project"))
    for seed in range(6):
        small_run(store, seed=seed)
    return store


def killed_sync(source: Path, target: Path, delay_s: float, what: str) -> int:
    """Synchronise in a process that is killed after a while; its exit code."""
    words = [str(source), str(target), str(delay_s), what]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, check=False, timeout=120)
    assert done.returncode in {0, -9}, done.stderr
    return done.returncode


def logged(store: Path) -> set[tuple[str, float]]:
    """Run and loss of everything that can be read."""
    if not tracker.runs(store=store):
        return set()
    return set(tracker.dataframe("loss", store=store)[["run", "loss"]].itertuples(index=False, name=None))


def test_a_killed_sync_leaves_a_sound_target(project: Path, tmp_path: Path) -> None:
    """Again and again, a little later each time, until it is complete."""
    target, codes = tmp_path / "target", list[int]()
    for number in range(14):
        codes.append(killed_sync(project, target, 0.004 * 1.6**number, "copy"))
        if (target / "format.json").exists():
            assert sound(open_store(target))

    sync(project, target)

    assert codes.count(-9) >= 3
    assert contents(open_store(target)) == contents(open_store(project))
    assert all(path.name.startswith(durable.TEMPORARY) for path in durable.leftovers(target))


def test_a_killed_deletion_loses_nothing(project: Path, tmp_path: Path) -> None:
    """Every record is in one of the two stores at every moment, and all of them are in the target at the end."""
    source, target = copy_of(project, tmp_path / "source"), tmp_path / "target"
    everything = logged(source)
    whole = contents(open_store(source))
    sync(source, target)
    codes = []
    for number in range(10):
        codes.append(killed_sync(source, target, 0.01 * 1.5**number, "delete"))
        assert logged(source) | logged(target) == everything
        assert sound(open_store(target))

    summary = sync(source, target, delete_after=True)

    assert codes.count(-9) >= 2
    assert not summary.kept_runs
    assert not tracker.runs(store=source)
    assert contents(open_store(target)) == whole


@pytest.mark.skipif(os.getuid() != 0, reason="only root may make a small file system")
def test_a_disk_that_is_full(project: Path, tmp_path: Path) -> None:
    """A real file system without room: one clear error, a sound target, and the next one goes on."""
    from tracker.errors import StoreFull

    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        with pytest.raises(StoreFull):
            sync(project, small / "store")
        assert sound(open_store(small / "store"))
        subprocess.run(["mount", "-o", "remount,size=40m", str(small)], check=True)
        sync(project, small / "store")
        assert contents(open_store(small / "store")) == contents(open_store(project))
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
