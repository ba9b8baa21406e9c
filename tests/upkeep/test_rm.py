"""Removing runs: nobody sees half of one, none comes back by itself, and a kill in the middle is finished later."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

import tracker
from tests.conftest import remote
from tests.syncing.stores import contents, copy_of, project_store, report_of, small_run, sound
from tests.upkeep.aging import aged
from tests.upkeep.dying import Dying
from tracker.errors import Conflict
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import Removal, encode
from tracker.store.local import LocalStore
from tracker.store.open import open_store
from tracker.syncing.stores import sync
from tracker.upkeep.removal import Belongings, Remover, finish_removals, remove_runs
from tracker.upkeep.retention import Policy
from tracker.upkeep.retention_gc import collect


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two versions of a project, checkpoints and a replay of both runs, of two days ago."""
    return aged(project_store(tmp_path_factory.mktemp("project")), hours=48)


def ids_of(store: Store) -> list[str]:
    return [view.run for view in tracker.runs(store=store)]


def test_all_of_a_run_goes(whole: Path, tmp_path: Path) -> None:
    """Its folder and what a replay answered about it; the other run keeps everything."""
    store = open_store(copy_of(whole, tmp_path / "store"))
    first, second = ids_of(store)
    before = contents(store)

    removed = remove_runs(store, [first])

    assert list(removed.runs) == [first]
    gone = before.keys() - contents(store).keys()
    assert {key for key in before if first in key} <= gone
    assert len([key for key in gone if "/slices/" in key]) == 1
    assert not [key for key in gone if second in key or key.startswith((keys.OBJECTS, keys.CODE))]
    assert ids_of(store) == [second]
    assert sound(store)


def test_what_only_it_needed_goes_with_the_next_collection(whole: Path, tmp_path: Path) -> None:
    """Objects, code and in the end the plan; a store without runs holds next to nothing."""
    store = open_store(copy_of(whole, tmp_path / "store"))
    first, second = ids_of(store)
    remove_runs(store, [first])
    objects = len(list(store.list(keys.OBJECTS)))

    collect(store, Policy(grace_s=0), dry_run=False)
    assert 0 < len(list(store.list(keys.OBJECTS))) < objects
    assert sound(store)
    assert tracker.load_checkpoint(second, store=store)["net"]["w"].shape == (400,)

    remove_runs(store, [second])
    collect(store, Policy(grace_s=0), dry_run=False)
    left = {key.split("/")[0] for key in contents(store)}
    assert left <= {"removed"}, left


@pytest.mark.parametrize("address", remote("local", "memory", "obstore"), indirect=True)
def test_it_does_not_come_back(store: Store, tmp_path: Path) -> None:
    """Not by the next sync from a store that has it, but when that is told to; the other store keeps its own."""
    run = small_run(tmp_path / "source")
    sync(tmp_path / "source", store)
    remove_runs(store, [run])

    left_out = sync(tmp_path / "source", store, full=True).left_out
    again = sync(tmp_path / "source", store)
    sync(store, tmp_path / "source")

    assert "was removed from" in left_out[keys.run_folder(run)]
    assert again.keys == 0
    assert ids_of(store) == []
    assert ids_of(open_store(tmp_path / "source")) == [run]
    sync(tmp_path / "source", store, restore=True)
    assert ids_of(store) == [run]
    assert sound(store)


def test_a_live_run_stays(tmp_path: Path) -> None:
    """Also with force; and a pinned one only without it."""
    with tracker.run(store=tmp_path / "store", capture=()) as run:
        tracker.log("loss", 1)
        store = open_store(tmp_path / "store")
        assert remove_runs(store, [run.id], force=True).kept == {run.id: "it is still running"}
    tracker.pin(run.id, store=store)

    assert remove_runs(store, [run.id]).kept == {run.id: "it is pinned"}
    assert list(remove_runs(store, [run.id], force=True, dry_run=True).runs) == [run.id]
    assert ids_of(store) == [run.id]
    assert list(remove_runs(store, [run.id], force=True).runs) == [run.id]


def test_a_retry_of_a_removed_task_is_a_new_run(tmp_path: Path) -> None:
    """The pointer from its launch key went with it."""
    found = []
    for _ in range(2):
        with tracker.run(store=tmp_path / "store", capture=(), launch_key="dag/task") as run:
            tracker.log("loss", 1)
        found.append(run.id)
        tracker.remove(run.id, store=tmp_path / "store")

    assert found[0] != found[1]


def test_a_run_that_was_started_again_meanwhile_stays(tmp_path: Path) -> None:
    """It has another attempt than when it was looked at."""
    run = small_run(tmp_path / "store")
    store = open_store(tmp_path / "store")
    remover = Remover(store)
    seen = remover.belongings(run)
    with tracker.run(store=store.url, capture=(), run_id=run):
        tracker.log("loss", 2)

    with pytest.raises(Conflict, match="started again"):
        remover.remove(seen)

    assert ids_of(store) == [run]
    assert not list(store.list(keys.REMOVED))


class Meddled(LocalStore):
    """A store in which something happens just before the document of a run is deleted."""

    meddle: Callable[[], object] | None = None

    def delete(self, keys: Iterable[str]) -> None:
        names = list(keys)
        if self.meddle is not None and names[0].endswith("/run.json"):
            meddle, self.meddle = self.meddle, None
            meddle()
        super().delete(names)


def test_an_attempt_that_begins_while_its_run_is_deleted_is_seen(tmp_path: Path) -> None:
    """It found the run, so nothing of it goes, and the next attempt finds it, too."""
    attempt = partial(tracker.run, store=tmp_path / "store", capture=(), launch_key="dag/task")
    with attempt() as run:
        tracker.log("loss", 1)
    store = Meddled(tmp_path / "store")
    before = contents(store).keys()
    with contextlib.ExitStack() as stack:
        store.meddle = lambda: stack.enter_context(attempt())
        kept = remove_runs(store, [run.id]).kept
        tracker.log("norm", 2)

    assert "was started again a moment ago" in kept[run.id]
    assert before <= contents(store).keys()
    assert not list(store.list(keys.REMOVED))
    assert len(tracker.dataframe("loss", "norm", runs=run.id, store=store)) == 1
    with attempt() as again:
        assert again.id == run.id


def test_killed_at_every_change(whole: Path, tmp_path: Path) -> None:
    """The run is whole or not there, the store is sound but for orphans, and the next collection does the rest."""
    number, done = 0, False
    while not done:
        store = Dying(copy_of(whole, tmp_path / str(number)))
        run = ids_of(store)[0]
        shape = tracker.dataframe("loss", runs=run, store=store).shape
        store.left = number
        try:
            remove_runs(store, [run])
            done = True
        except KeyboardInterrupt:
            store.left = 10**6
        assert sound(store)
        if run in ids_of(store):
            assert tracker.dataframe("loss", runs=run, store=store).shape == shape
        if not done and list(store.list(keys.REMOVED)):
            left = list(store.list(keys.run_folder(run)))
            assert finish_removals(store) == ([run] if left else [])
            assert run not in ids_of(store)
            assert {problem.key.split("/")[0] for problem in report_of(store).problems} <= {"objects", "code"}
        number += 1 if number < 4 else 9
    assert number > 20


def test_a_run_that_was_pinned_since_is_not_finished_off(tmp_path: Path) -> None:
    """A removal that was killed at its beginning, and then somebody saw the run and wants it."""
    run = small_run(tmp_path / "store")
    store = Dying(tmp_path / "store")
    store.left = 1
    with pytest.raises(KeyboardInterrupt):
        remove_runs(store, [run])
    store.left = 10**6
    assert ids_of(store) == [run]
    tracker.pin(run, store=store.url)

    assert finish_removals(store) == []
    assert tracker.runs(store=store)[0].pinned


def test_a_mark_that_comes_at_the_last_moment_counts(tmp_path: Path) -> None:
    """The run was looked at before it came."""
    run = small_run(tmp_path / "store")
    store = open_store(tmp_path / "store")
    remover = Remover(store)
    seen = remover.belongings(run)
    tracker.pin(run, store=store)

    with pytest.raises(Conflict, match="tagged or pinned"):
        remover.remove(seen)

    assert ids_of(store) == [run]
    assert not list(store.list(keys.REMOVED))


@pytest.mark.filterwarnings("ignore::tracker.read.notices.DamageWarning")
@pytest.mark.parametrize("name", ["mark", "run.json"])
def test_a_document_that_cannot_be_read_counts_as_a_pin(tmp_path: Path, name: str) -> None:
    """Nobody knows what it says; a collection leaves the run alone, too, and only force removes it."""
    run, _ = small_run(tmp_path / "store"), small_run(tmp_path / "store", seed=1)
    store = LocalStore(tmp_path / "store")
    tracker.pin(run, store=store)
    key = next(store.list(keys.marks_folder(run))).key if name == "mark" else keys.run_document(run)
    path = store.root / key
    path.write_bytes(bytes(path.stat().st_size))  # as after a power cut

    assert remove_runs(store, [run]).kept == {run: f"{key} cannot be read, so it counts as pinned"}
    found = collect(store, Policy(last=1, grace_s=0), dry_run=False)
    assert (list(found.runs), list(found.spared)) == ([], [run])
    assert "cannot be read" in found.spared[run]
    assert list(remove_runs(store, [run], force=True).runs) == [run]


@pytest.mark.filterwarnings("ignore::tracker.read.notices.DamageWarning")
def test_a_live_run_without_a_readable_beginning_stays(tmp_path: Path) -> None:
    """Also with force: its lease says that it goes on."""
    store = LocalStore(tmp_path / "store")
    with tracker.run(store=store.url, capture=()) as run:
        tracker.commit()
        (store.root / keys.run_document(run.id)).write_bytes(b"")
        assert remove_runs(store, [run.id], force=True).kept == {run.id: "it is still running"}


@pytest.mark.parametrize("ahead_s", [-3600, 3600])
def test_a_run_that_came_back_is_not_finished_off(tmp_path: Path, ahead_s: float) -> None:
    """It goes on, or wrote something after the removal by the store's clock, whatever that of the machine says."""
    run = small_run(tmp_path / "store")
    store = LocalStore(tmp_path / "store")
    with tracker.run(store=store.url, capture=(), run_id=run) as again:
        tracker.commit()
        removal = encode(Removal(run=run, removed=time.time() + ahead_s))
        store.put(keys.removal_document(run), removal)
        assert finish_removals(store) == []

    start = store.root / keys.attempt_document(run, again.attempt, "start")
    os.utime(start, (time.time() + 60,) * 2)
    assert finish_removals(store) == []
    assert ids_of(store) == [run]
    aged(store.root)
    store.put(keys.removal_document(run), removal)
    assert finish_removals(store) == [run]


def test_a_run_that_is_started_again_while_others_go_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one is looked at when it is its turn."""
    first, second = (small_run(tmp_path / "store", seed=seed) for seed in range(2))
    store, real = open_store(tmp_path / "store"), Remover.remove
    with contextlib.ExitStack() as stack:

        def remove(remover: Remover, own: Belongings, *, reason: str = "") -> int:
            if own.run == first:
                stack.enter_context(tracker.run(store=store.url, capture=(), run_id=second))
                tracker.commit()
            return real(remover, own, reason=reason)

        monkeypatch.setattr(Remover, "remove", remove)
        found = remove_runs(store, [first, second])

        assert (list(found.runs), found.kept) == ([first], {second: "it is still running"})


KILLED = """
import os, sys, threading, time
import pyarrow.parquet
from tracker.store.open import open_store
from tracker.upkeep.removal import remove_runs
from tracker.upkeep.retention import Policy
from tracker.upkeep.retention_gc import collect
delay = float(sys.argv[2])
threading.Thread(target=lambda: (time.sleep(delay), os.kill(os.getpid(), 9)), daemon=True).start()
collect(open_store(sys.argv[1]), Policy(last=1, checkpoints=2, grace_s=0), dry_run=False)
"""


@pytest.mark.slow
def test_a_collection_killed_at_any_moment(whole: Path, tmp_path: Path) -> None:
    """The store is sound after each kill, and the last collection ends where one that nobody killed ends."""
    folder = copy_of(whole, tmp_path / "store")
    for seed in range(5):
        small_run(folder, seed=seed)
    aged(folder)
    calm = open_store(copy_of(folder, tmp_path / "calm"))
    collect(calm, Policy(last=1, checkpoints=2, grace_s=0), dry_run=False)
    codes = []
    for number in range(12):
        words = [sys.executable, "-c", KILLED, str(folder), str(0.004 * 1.5**number)]
        codes.append(subprocess.run(words, capture_output=True, check=False, timeout=120).returncode)
        assert sound(open_store(folder))

    store = open_store(folder)
    collect(store, Policy(last=1, checkpoints=2, grace_s=0), dry_run=False)

    assert codes.count(-9) >= 3, codes
    assert sound(store)
    kept = {key for key in contents(store) if not key.startswith((keys.REMOVED, keys.SWEEPS))}
    assert kept == {key for key in contents(calm) if not key.startswith((keys.REMOVED, keys.SWEEPS))}
