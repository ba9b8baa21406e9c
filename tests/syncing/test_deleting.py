"""Runs leave the source only when the target is proven to have them."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

import tracker
from tests.syncing.stores import contents, copy_of, small_run, sound
from tracker.replay.documents import Plan
from tracker.store import keys
from tracker.store.base import Info, Store
from tracker.store.documents import decode, encode
from tracker.store.holds import Holding, Sweeping, holding
from tracker.store.ids import first_id, later_id, new_id
from tracker.store.local import LocalStore
from tracker.store.open import open_store
from tracker.syncing.stores import sync


@pytest.fixture
def source(tmp_path: Path) -> Store:
    """A store with three small runs."""
    for seed in range(3):
        small_run(tmp_path / "source", seed=seed)
    return open_store(tmp_path / "source")


@pytest.fixture
def target(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "target")


def test_all_that_ended_leaves(project: Path, target: Store, tmp_path: Path) -> None:
    """Runs, checkpoints and answers are gone from the source and sound in the target; code stays in both."""
    source = open_store(copy_of(project, tmp_path / "copy"))
    before = contents(source)

    summary = sync(source, target, delete_after=True)

    assert len(summary.deleted_runs) == 2
    assert contents(target) == before
    assert sound(target)
    assert {key.split("/")[0] for key in contents(source)} <= {"code", "replays", "objects"}
    assert not [key for key in contents(source) if "/slices/" in key]


def test_what_is_gone_is_not_missed(source: Store, target: Store) -> None:
    """The next synchronisation moves nothing, and brings only what is new."""
    sync(source, target, delete_after=True)
    before = contents(target)

    assert sync(source, target, delete_after=True).keys == 0
    assert contents(target) == before
    run = small_run(source.url, seed=8)
    assert sync(source, target, delete_after=True).deleted_runs == [run]
    assert contents(target).keys() > before.keys()


def test_a_run_that_goes_on_stays_and_with_it_all_objects(source: Store, target: Store) -> None:
    """It may be about to name an object that it found there."""
    with tracker.run(store=source.url, capture=()) as run:
        tracker.log("loss", 1)
        summary = sync(source, target, delete_after=True)

        assert len(summary.deleted_runs) == 3
        assert source.folders(keys.RUNS) == [run.id]
        assert len(list(source.list(keys.OBJECTS))) == 5
        assert summary.kept_runs == {run.id: "records of it wait in journals"}


def test_what_a_writer_holds_stays(source: Store, target: Store) -> None:
    """It is about to name it in a document of the source."""
    held, *others = [info.key for info in source.list(keys.OBJECTS)]

    with holding(source, [held]):
        assert len(sync(source, target, delete_after=True).deleted_runs) == 3

    assert others
    assert [info.key for info in source.list(keys.OBJECTS)] == [held]


def test_objects_stay_while_others_copy_or_collect(source: Store, target: Store, tmp_path: Path) -> None:
    """Those who copy into the source may need any of them; who collects there takes them himself."""
    other = open_store(copy_of(Path(source.url), tmp_path / "other"))
    objects = list(source.list(keys.OBJECTS))

    with Holding(source) as everything:
        everything.begin()
        assert len(sync(source, target, delete_after=True).deleted_runs) == 3
    collection = Sweeping(other)
    collection.begin()
    assert len(sync(other, target, delete_after=True).deleted_runs) == 3

    assert len(list(other.list(keys.OBJECTS))) == len(list(source.list(keys.OBJECTS))) == len(objects)


def test_an_object_that_others_need_stays(source: Store, target: Store) -> None:
    """Only what nothing needs any more is deleted."""
    chosen = source.folders(keys.RUNS)[:2]

    sync(source, target, runs=chosen, delete_after=True)

    assert len(list(source.list(keys.OBJECTS))) == 3
    assert sound(source)
    assert sound(target)


def test_damage_in_the_target_keeps_the_run(source: Store, target: Store) -> None:
    """Every byte is read back: one that differs is found, although its size is right and it was remembered."""
    assert isinstance(target, LocalStore)
    sync(source, target)
    (first, *_) = source.folders(keys.RUNS)
    segment = next((target.root / keys.data_folder(first)).rglob("*.parquet"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)

    summary = sync(source, target, delete_after=True)

    assert list(summary.kept_runs) == [first]
    assert "not the same" in summary.kept_runs[first]
    assert first in source.folders(keys.RUNS)


def test_a_missing_object_in_the_target_keeps_the_run(source: Store, target: Store) -> None:
    """What was deleted from the target since is not deleted from the source, too."""
    sync(source, target)
    target.delete([info.key for info in target.list(keys.OBJECTS)])

    assert len(sync(source, target, delete_after=True).kept_runs) == 3
    assert len(source.folders(keys.RUNS)) == 3
    assert sync(source, target, full=True).complete


def test_a_run_whose_replay_is_not_finished_stays(project: Path, target: Store, tmp_path: Path) -> None:
    """A worker may still need its code and checkpoints."""
    source = open_store(copy_of(project, tmp_path / "copy"))
    source.delete([next(info.key for info in source.list(keys.REPLAYS) if "/slices/" in info.key)])

    summary = sync(source, target, delete_after=True)

    assert len(summary.deleted_runs) == 1
    assert list(summary.kept_runs.values()) == ["a replay of it is not finished"]


class ReadFirst(LocalStore):
    """A store that does something before it is read for the first time since it was told."""

    first: Callable[[], object] | None = None

    def open(self, key: str) -> BinaryIO:
        first, self.first = self.first, None
        if first is not None:
            first()
        return super().open(key)


def test_a_replay_that_is_planned_meanwhile_keeps_its_run(project: Path, tmp_path: Path) -> None:
    """All of the run was read back by then, or most."""
    source = open_store(copy_of(project, tmp_path / "copy"))
    sync(source, tmp_path / "target")
    plan = next(info.key for info in source.list(keys.REPLAYS) if info.key.endswith("plan.json"))
    found = decode(source.get(plan), Plan, key=plan)
    again = msgspec.structs.replace(found, replay=new_id())
    target = ReadFirst(tmp_path / "target")
    target.first = lambda: source.put(keys.replay_plan(again.replay), encode(again))

    summary = sync(source, target, delete_after=True)

    assert target.first is None
    assert summary.kept_runs == {piece.run: "a replay of it is not finished" for piece in found.slices}


class Listed(LocalStore):
    """A store that notes how its replays are listed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.listed: list[str] = []
        self.named: list[str] = []

    def list(self, prefix: str = "") -> Iterator[Info]:
        self.listed.append(prefix)
        return super().list(prefix)

    def folders(self, prefix: str = "", *, after: str = "") -> builtins.list[str]:
        found = super().folders(prefix, after=after)
        self.named += found if prefix == keys.REPLAYS and after else []
        return found


def test_replays_are_listed_once(project: Path, target: Store, tmp_path: Path) -> None:
    """And not again for every run, those of long ago and a folder that is none among them."""
    source = Listed(copy_of(project, tmp_path / "copy"))
    (replay,) = source.folders(keys.REPLAYS)
    plan = decode(source.get(keys.replay_plan(replay)), Plan, key=replay)
    old = later_id(first_id(0), at=1e9)
    source.put(keys.replay_plan(old), encode(msgspec.structs.replace(plan, replay=old, slices=())))
    source.put(keys.REPLAYS + "notes/todo.txt", b"mine")
    sync(source, target)
    source.listed, source.named = [], []

    assert len(sync(source, target, delete_after=True).deleted_runs) == 2

    assert not [prefix for prefix in source.listed if prefix.startswith(keys.REPLAYS + "notes")]
    assert old not in source.named


def test_what_a_killed_deletion_left_goes_the_next_time(project: Path, target: Store, tmp_path: Path) -> None:
    """Without its document and the answers about it, the rest of a run waits for nothing."""
    source = open_store(copy_of(project, tmp_path / "copy"))
    sync(source, target)
    (run, *_) = sorted(source.folders(keys.RUNS))
    answers = [
        info.key
        for info in source.list(keys.REPLAYS)
        if "/slices/" in info.key and run.encode() in source.get(info.key)
    ]
    source.delete([keys.run_document(run), *answers])

    summary = sync(source, target, delete_after=True)

    assert (answers != [], summary.kept_runs) == (True, {})
    assert not source.folders(keys.RUNS)


def test_a_dry_run_deletes_nothing(source: Store, target: Store) -> None:
    """Neither does it say so."""
    sync(source, target)

    assert not sync(source, target, delete_after=True, dry_run=True).deleted_runs
    assert len(source.folders(keys.RUNS)) == 3
