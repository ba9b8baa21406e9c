"""Synchronisation between two stores: all that is missing, once, in an order that is sound at every moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet
import pytest

import tracker
from tests.syncing.stores import contents, copy_of, small_run, sound
from tracker.errors import InputError, NotFound, StoreFull
from tracker.store import keys
from tracker.store.base import Info, Store
from tracker.store.documents import CodeFile, Snapshot, encode
from tracker.store.ids import new_id
from tracker.store.local import LocalStore
from tracker.store.objects import get_object, put_object
from tracker.store.open import open_store
from tracker.syncing import copying
from tracker.syncing.carrying import LARGE_AT_A_TIME
from tracker.syncing.engine import _batches
from tracker.syncing.stores import sync
from tracker.syncing.units import Unit


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A store with three small runs."""
    for seed in range(3):
        small_run(tmp_path / "source", seed=seed)
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "target")


def test_everything_arrives(project: Path, target: Store) -> None:
    """Runs, code, checkpoints and a replay's answers have the same keys and bytes in the target, and nothing else."""
    summary = sync(project, target)

    assert summary.complete
    assert contents(target) == contents(open_store(project))
    assert {"document", "segment", "object", "bundle"} == set(summary.counts)
    assert summary.keys == len(contents(target))
    assert sound(target)


def test_what_arrived_can_be_read_and_replayed(project: Path, target: Store) -> None:
    """The same frame, with the answers of the replay, and the same code."""
    sync(project, target)

    frame = tracker.dataframe("loss", "norm", "fidelity", store=target)
    assert frame.equals(tracker.dataframe("loss", "norm", "fidelity", store=project))
    assert set(frame["fidelity"].dropna()) == {"exact"}


@pytest.mark.parametrize("full", [False, True])
def test_a_second_time_moves_nothing(source: Path, target: Store, full: bool) -> None:
    """With what is remembered, and without it."""
    sync(source, target)
    before = {info.key: info.modified for info in target.list()}

    again = sync(source, target, full=full)

    assert (again.keys, again.runs, again.changed) == (0, 3, [])
    assert {info.key: info.modified for info in target.list()} == before


def test_only_what_is_new_is_copied(source: Path, target: Store) -> None:
    """A further run brings its own keys, and not the object that all runs share."""
    sync(source, target)
    run = small_run(source, seed=9)

    summary = sync(source, target)

    assert summary.changed == [run]
    assert summary.counts["object"] == 1
    assert contents(target) == contents(open_store(source))


def test_chosen_runs_bring_what_they_need(project: Path, target: Store) -> None:
    """The run, its code, its checkpoints and the answers about it; the other one is left."""
    first, second = sorted(folder.name for folder in (project / "runs").iterdir())

    sync(project, target, runs=[first])

    assert target.folders(keys.RUNS) == [first]
    assert sound(target)
    assert len(tracker.dataframe("norm", store=target)) == 3
    sync(project, target, runs=[second])
    assert contents(target) == contents(open_store(project))


def test_the_remembered_may_be_lost(source: Path, target: Store, tmp_path: Path) -> None:
    """Without the file, or with rubbish in it, everything is compared again and nothing is copied twice."""
    sync(source, target)
    (record,) = (tmp_path / "cache" / "hindsight" / "sync").iterdir()
    record.write_bytes(b"rubbish")

    assert sync(source, target).keys == 0
    record.unlink()
    assert sync(source, target).keys == 0


def test_another_store_at_the_same_place_is_another(source: Path, target: Store) -> None:
    """What is remembered of a target that was deleted does not count for the next one."""
    assert isinstance(target, LocalStore)
    sync(source, target)
    target.root.rename(target.root.with_name("old"))

    assert sync(source, target.root).complete
    assert contents(target) == contents(open_store(source))


def test_a_dry_run_writes_nothing(source: Path, tmp_path: Path) -> None:
    """It tells what would be copied, to a target that need not be there."""
    foreseen = sync(source, tmp_path / "nowhere", dry_run=True)

    assert not (tmp_path / "nowhere").exists()
    done = sync(source, tmp_path / "nowhere")
    assert (foreseen.counts, foreseen.sizes_bytes) == (done.counts, done.sizes_bytes)
    assert sync(source, tmp_path / "nowhere", dry_run=True).keys == 0


def test_a_store_is_no_target_of_itself(source: Path) -> None:
    """That would be a slip."""
    with pytest.raises(InputError, match="both source and target"):
        sync(source, source)


def test_a_copy_of_it_is_one(source: Path, tmp_path: Path) -> None:
    """Nothing stays of the proof that what one is given the other lacks."""
    copy = copy_of(source, tmp_path / "copy")

    assert sync(source, copy).complete
    assert not (copy / ".probe").exists()


def test_a_source_must_be_there(tmp_path: Path) -> None:
    """A slip in its address makes no empty target."""
    with pytest.raises(NotFound):
        sync(tmp_path / "slip", tmp_path / "target")

    assert not (tmp_path / "target").exists()


def test_progress_reaches_its_end(source: Path, target: Store) -> None:
    """Runs, keys and bytes grow, and end at their totals."""
    told = []

    summary = sync(source, target, on_progress=told.append)

    last = told[-1]
    assert (last.runs, last.keys, last.size_bytes) == (3, summary.keys, summary.size_bytes)
    assert (last.runs_total, last.keys_total, last.total_bytes) == (last.runs, last.keys, last.size_bytes)
    assert all(one.keys <= two.keys for one, two in pairwise(told))


def test_damage_is_told_and_held_back(source: Path, target: Store) -> None:
    """A checkpoint whose object is damaged stays, with the object; the rest arrives and is sound."""
    damaged = next(path for path in (source / "objects").rglob("*") if path.is_file() and path.stat().st_size > 2000)
    damaged.write_bytes(b"other bytes")

    summary = sync(source, target)

    assert not summary.complete
    assert any("have the hash" in reason for reason in summary.problems.values())
    assert any(reason.startswith("held back") for reason in summary.problems.values())
    assert sound(target)
    assert len(target.folders(keys.RUNS)) == 3
    assert sync(source, target).problems.keys() == summary.problems.keys()


def test_a_flipped_bit_in_a_segment_is_found(source: Path, target: Store) -> None:
    """Not only its footer is read: it is held back, and the run is not deleted."""
    segment = next((source / "runs").rglob("epoch.step/*.parquet"))
    column = pyarrow.parquet.read_metadata(segment).row_group(0).column(0)
    data = bytearray(segment.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    segment.write_bytes(data)

    summary = sync(source, target, delete_after=True)

    assert list(summary.problems) == [segment.relative_to(source).as_posix()]
    assert len(summary.deleted_runs) == 2
    assert segment.exists()


def test_a_torn_copy_in_the_target_is_repaired(source: Path, target: Store) -> None:
    """Keys that another tool left half written are written anew."""
    sync(source, target)
    assert isinstance(target, LocalStore)
    for path in (*target.root.rglob("*.parquet"), *target.root.rglob("run.json"), *target.root.rglob("start.json")):
        path.write_bytes(path.read_bytes()[:40])

    sync(source, target, full=True)

    assert contents(target) == contents(open_store(source))


def test_a_full_disk_ends_it_and_the_next_goes_on(source: Path, target: Store, tmp_path: Path) -> None:
    """What had arrived is sound; nothing is torn, and nothing is copied twice."""
    small = copy_of(tmp_path / "target", tmp_path / "small")
    limited = Limited(small, keys_left=12)

    with pytest.raises(StoreFull):
        sync(source, limited, threads=1)

    assert sound(open_store(small))
    there = len(contents(open_store(small)))
    assert sync(source, small).keys == len(contents(open_store(source))) - there


def test_large_objects_pass_through_a_file(source: Path, target: Store) -> None:
    """In pieces, with the hash compared before the target sees any of it."""
    opened = open_store(source)
    data = os.urandom(20 << 20)
    digest = put_object(opened, data)
    opened.put(keys.code_document("0" * 64), _snapshot("0" * 64, digest))
    damaged = put_object(opened, os.urandom(9 << 20))
    (source / keys.object_key(damaged)).write_bytes(data)
    opened.put(keys.code_document("1" * 64), _snapshot("1" * 64, damaged))

    summary = sync(source, target)

    assert get_object(target, digest) == data
    assert keys.object_key(damaged) not in contents(target)
    assert summary.problems.keys() == {keys.object_key(damaged), keys.code_document("1" * 64)}
    assert sound(target)


class Counting(LocalStore):
    """A store that counts how many of its objects are open at a time."""

    most = 0

    def open(self, key: str) -> BinaryIO:
        opened = self.__dict__.setdefault("opened", [])
        file = super().open(key)
        if key.startswith(keys.OBJECTS):
            opened.append(file)
        self.most = max(self.most, sum(not each.closed for each in opened))
        return file


def test_few_large_objects_are_in_hand_at_a_time(source: Path, target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads there are: their files may lie in memory."""
    monkeypatch.setattr(copying, "IN_MEMORY_BYTES", 1000)
    opened = Counting(source)
    for number in range(40):
        name = f"{number:064}"
        opened.put(keys.code_document(name), _snapshot(name, put_object(opened, os.urandom(5000))))

    assert sync(opened, target, threads=32).complete

    assert 0 < opened.most <= LARGE_AT_A_TIME


def test_runs_with_journals_are_few_at_a_time() -> None:
    """What is in them is held until all of a batch is published."""
    open_ones = [Unit(f"runs/{new_id()}/", b"") for _ in range(40)]
    ended = [Unit(f"runs/{new_id()}/", b"state") for _ in range(40)]
    listed = [Unit(unit.prefix, b"", [Info("a.journal", 100 << 20)]) for unit in open_ones[:4]]

    assert [len(batch) for batch in _batches(open_ones)] == [16, 16, 8]
    assert [len(batch) for batch in _batches(ended)] == [40]
    assert [len(batch) for batch in _batches(listed)] == [2, 2]


def _snapshot(name: str, digest: str) -> bytes:
    """The document of a snapshot of one large file."""
    file = CodeFile(path="data.bin", digest=digest, size_bytes=1)
    return encode(Snapshot(snapshot=name, kind="files", created=0.0, size_bytes=1, files=(file,)))


class Limited(LocalStore):
    """A store on a disk that takes so many keys."""

    def __init__(self, root: Path, *, keys_left: int) -> None:
        super().__init__(root)
        self.keys_left = keys_left

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace a key atomically; durable when this returns."""
        self._count(key)
        super().put(key, data)

    def create(self, key: str, data: bytes | memoryview) -> None:
        """Write a new key, or raise ``KeyExists`` and change nothing."""
        self._count(key)
        super().create(key, data)

    def _count(self, key: str) -> None:
        self.keys_left -= 1
        if self.keys_left < 0:
            raise StoreFull(f"{key} was not stored: no space left on device")


class Swept(LocalStore):
    """A store in which, where nobody holds it, all code is swept as soon as it was listed."""

    def list(self, prefix: str = "") -> Iterator[Info]:
        """The keys, which may be gone already."""
        found = list(super().list(prefix))
        if prefix == keys.CODE and not list(super().list(keys.HOLDS)):
            self.delete([info.key for info in found])
        return iter(found)


def test_code_is_held_before_the_target_is_asked_for_it(project: Path, tmp_path: Path) -> None:
    """What the target has already is relied on, and a sweep that begins after the look leaves it."""
    sync(project, tmp_path / "target")
    target = Swept(tmp_path / "target")

    assert sync(project, target, full=True).complete
    assert sound(target)
