"""Verification reads every byte of a store that was really recorded, and names each kind of damage."""

from __future__ import annotations

import errno
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet
import pytest

import tracker
from tests.conftest import remote
from tracker.checkpoint.manifest import read_manifest
from tracker.code.verification import check_snapshot
from tracker.errors import NotFound, StoreUnavailable
from tracker.replay.documents import SliceResult
from tracker.replay.kinds import ALL_KINDS
from tracker.store import objects
from tracker.store.base import Store
from tracker.store.documents import CodeFile, EndDocument, Launch, Snapshot, decode, encode
from tracker.store.durable import translated
from tracker.store.ids import new_id
from tracker.store.keys import SegmentKey, code_document, data_folder, launch_document, object_key
from tracker.store.local import LocalStore
from tracker.store.open import open_store
from tracker.store.verify import Report, verify
from tracker.upkeep.repair import repair

SCRIPT = """
import random
import tracker
tracker.arg("lr", 0.1)
for epoch in tracker.loop("epoch", range(3)):
    for step in tracker.loop("step", range(100)):
        tracker.log("loss", random.random())
"""


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished run, its code, and a snapshot of two files."""
    project = tmp_path_factory.mktemp("project")
    (project / "train.py").write_text(SCRIPT)
    environment = {**os.environ, "HINDSIGHT_STORE": str(project / "store")}
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    subprocess.run([sys.executable, "train.py"], cwd=project, check=True, env=environment)
    store = open_store(project / "store")
    files = [
        CodeFile(path=f"{len(payload)}", digest=objects.put_object(store, payload), size_bytes=len(payload))
        for payload in (b"one", b"two" * 1000)
    ]
    snapshot = Snapshot(snapshot="f" * 64, kind="files", created=0.0, size_bytes=3003, files=tuple(files))
    store.put(code_document(snapshot.snapshot), encode(snapshot))
    return project / "store"


@pytest.fixture
def store(recorded: Path, tmp_path: Path) -> LocalStore:
    """A copy of it, to be damaged."""
    shutil.copytree(recorded, tmp_path / "store")
    return LocalStore(tmp_path / "store")


ASKED = """
import numpy as np
import tracker
net = {"w": np.zeros(4)}
with tracker.checkpointing(net=net):
    for epoch in tracker.loop("epoch", range(3)):
        for step in tracker.loop("step", range(2)):
            net["w"] += epoch
        tracker.log("sum", net["w"].sum())
"""
PROBE = '        tracker.log("top", net["w"].max())\n'


@pytest.fixture(scope="session")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the checkpoints of a run, and a replay that asked it something."""
    project = tmp_path_factory.mktemp("asked")
    environment = {**os.environ, "HINDSIGHT_STORE": str(project / "store"), "HINDSIGHT_CHECKPOINTS": "all"}
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    for text, command in ((ASKED, ["train.py"]), (ASKED + PROBE, ["-m", "tracker", "replay", "top", "--json"])):
        (project / "train.py").write_text(text)
        subprocess.run([sys.executable, *command], cwd=project, check=True, env=environment, stdout=subprocess.DEVNULL)
    return project / "store"


@pytest.fixture
def asked(replayed: Path, tmp_path: Path) -> LocalStore:
    """A copy of it, to be damaged."""
    shutil.copytree(replayed, tmp_path / "asked")
    return LocalStore(tmp_path / "asked")


def only(report: Report) -> tuple[str, str, str]:
    """Kind, key and words of the one problem of a report."""
    assert len(report.problems) == 1, report.problems
    return report.problems[0].kind, report.problems[0].key, report.problems[0].detail


def keys_with(store: Store, ending: str) -> list[str]:
    return [info.key for info in store.list() if info.key.endswith(ending)]


def flip(store: Store, key: str, position: int) -> None:
    """Change one bit of a key."""
    data = bytearray(store.get(key))
    data[position] ^= 0x10
    store.put(key, bytes(data))


def test_a_recorded_store_is_sound(store: LocalStore) -> None:
    """What a run wrote is read completely, and nothing is wrong with it."""
    seen = []

    report = verify(store, on_key=lambda info: seen.append(info.key))

    assert report.ok
    assert report.problems == ()
    assert report.counts["segment"] >= 2
    assert report.counts["object"] == 2
    assert sum(report.counts.values()) == len(seen) == len(list(store.list()))
    assert sum(report.sizes_bytes.values()) == sum(info.size_bytes for info in store.list())


def test_one_run_is_verified_with_its_code(store: LocalStore) -> None:
    """Verifying a run reads its own keys and the snapshot that it refers to."""
    run = store.folders("runs/")[0]

    report = verify(store, run)

    assert report.ok
    assert report.counts["bundle"] == 1
    assert "object" not in report.counts


def test_a_damaged_object_is_named(store: LocalStore) -> None:
    """A flipped bit in an object is found by its hash."""
    key = object_key(objects.put_object(store, b"payload"))
    flip(store, key, 3)

    report = verify(store)

    assert not report.ok
    assert only(report)[:2] == ("damaged", key)
    assert report.problems[0].size_bytes == 7


def test_lost_segments_are_noticed(store: LocalStore) -> None:
    """What an attempt counted at its end is there, path by path, or its values are told to be missing."""
    run = store.folders("runs/")[0]
    for key in keys_with(store, ".parquet"):
        data = store.get(key)
        store.delete([key])
        if "/@output/" not in key:  # its lines are not counted
            kind, told, detail = only(verify(store, run))
            assert (kind, told) == ("missing", data_folder(run))
            assert "counts 301 values" in detail
        store.put(key, data)
    assert verify(store).ok


def test_values_of_all_kinds_are_counted(tmp_path: Path) -> None:
    """Also several of one name in a context, ``None``, NaN, columns in part files, and those of a merged journal."""
    with tracker.run(store=tmp_path, capture=(), flush_interval_s=1000.0):
        for step in tracker.loop("step", range(30)):
            for value in (step, None, math.nan, "text", b"bytes", [None], 1 << 70, True, 0.1):
                tracker.log("any", value)
                tracker.log(f"of {type(value).__name__}", value)
            if step % 3 == 0:
                tracker.commit()
        for number in range(1200):
            tracker.log(f"metric {number}", number)
    store = LocalStore(tmp_path)
    end = decode(store.get(keys_with(store, "end.json")[0]), EndDocument, key="end.json")

    report = verify(store)

    assert end.records == 30 * 18 + 1200
    assert report.problems == ()
    for key in (key for key in keys_with(store, ".parquet") if SegmentKey.parse(key).part):
        store.delete([key])
        assert not verify(store).ok


def test_an_attempt_without_an_end_is_told(store: LocalStore) -> None:
    """It may have been lost; but a copy that was interrupted looks the same, so it is no error."""
    (key,) = keys_with(store, "end.json")
    store.delete([key])

    report = verify(store)

    assert only(report)[:2] == ("unfinished", key)
    assert report.ok


def test_payloads_that_nothing_names_are_told(store: LocalStore) -> None:
    """They do no harm; where a document cannot be read it may name any of them, and nothing is said."""
    key = object_key(objects.put_object(store, b"of nobody"))

    assert only(verify(store))[:2] == ("orphaned", key)
    assert verify(store).ok
    store.put(keys_with(store, "code.json")[0], b"{")
    assert "orphaned" not in {problem.kind for problem in verify(store).problems}


@pytest.mark.parametrize("position", [0, -1, -7])
def test_a_segment_with_a_broken_frame_is_named(store: LocalStore, position: int) -> None:
    """A segment that does not begin or end as one is found; its neighbours are still read."""
    key = keys_with(store, ".parquet")[0]
    flip(store, key, position)

    assert only(verify(store))[:2] == ("damaged", key)


def test_a_flipped_bit_in_any_column_is_named(store: LocalStore) -> None:
    """One wrong bit in the values of a column is found by the checksum of its page, and not read as another value."""
    key = keys_with(store, ".parquet")[0]
    whole = store.get(key)
    group = pyarrow.parquet.ParquetFile(store.local_path(key)).metadata.row_group(0)
    for number in range(group.num_columns):
        column = group.column(number)
        page_end = column.data_page_offset + column.total_compressed_size
        for position in (page_end - 1, page_end - 2, page_end - 3):
            store.put(key, whole)
            flip(store, key, position)

            assert only(verify(store))[:2] == ("damaged", key), column.path_in_schema


def test_a_segment_that_was_cut_is_named(store: LocalStore) -> None:
    """A copy that broke off is found."""
    key = keys_with(store, ".parquet")[0]
    store.put(key, store.get(key)[:-20])

    assert only(verify(store))[:2] == ("damaged", key)


def test_a_segment_under_a_wrong_name_is_named(store: LocalStore) -> None:
    """A segment that was copied into another path would be read as something it is not."""
    key = SegmentKey.parse(keys_with(store, ".parquet")[0])
    assert key is not None
    moved = str(SegmentKey(key.run, "elsewhere", key.shard, key.first, key.last))
    store.put(moved, store.get(str(key)))

    assert only(verify(store))[:2] == ("damaged", moved)


def test_overlapping_segments_are_named(store: LocalStore) -> None:
    """Two segments that share frames, neither covering the other, would count values twice."""
    key = SegmentKey.parse(keys_with(store, ".parquet")[0])
    assert key is not None
    overlapping = str(SegmentKey(key.run, key.path, key.shard, key.first + 1, key.last + 1))
    store.put(overlapping, store.get(str(key)))

    kind, found, detail = only(verify(store))

    assert (kind, found) == ("damaged", overlapping)
    assert "overlap" in detail


@pytest.mark.parametrize("ending", ["run.json", "start.json", "end.json", "code.json"])
def test_a_damaged_document_is_named(store: LocalStore, ending: str) -> None:
    """A document that is no JSON of ours is found."""
    (key,) = keys_with(store, ending)
    store.put(key, store.get(key)[:-3])

    assert ("damaged", key) in [(problem.kind, problem.key) for problem in verify(store).problems]


@pytest.mark.parametrize("ending", ["run.json", "start.json"])
def test_a_missing_document_is_named(store: LocalStore, ending: str) -> None:
    """A run whose document was lost is noticed by what stands beside it."""
    (key,) = keys_with(store, ending)
    store.delete([key])

    assert only(verify(store))[:2] == ("missing", key)
    assert verify(store).problems[0].size_bytes > 0


@pytest.mark.parametrize("whole", [True, False])
def test_a_missing_bundle_is_named(store: LocalStore, whole: bool) -> None:
    """The code of a run that was not copied along is noticed, also when only that run is verified."""
    (key,) = keys_with(store, ".bundle")
    store.delete([key])

    report = verify(store, None if whole else store.folders("runs/")[0])

    assert only(report)[:2] == ("missing", key)


def test_orphans_and_strangers_do_no_harm(store: LocalStore) -> None:
    """What nobody refers to and what nobody knows is listed with its bytes, and the store is sound all the same."""
    launch = launch_document("job/1")
    store.put(launch, encode(Launch(launch_key="job/1", run=new_id())))
    store.put("notes/todo.txt", b"mine")
    store.put(".probe/0123", b"left")
    (store.root / "runs/.tmp-0123").write_bytes(b"half a write")

    report = verify(store)

    assert report.ok
    assert [(problem.kind, problem.key) for problem in report.problems] == [
        ("orphaned", ".probe/0123"),
        ("orphaned", launch),
        ("unknown", "notes/todo.txt"),
        ("orphaned", "runs/.tmp-0123"),
    ]
    assert report.problems[3].size_bytes == 12


def test_copies_by_hand_do_no_harm(store: LocalStore) -> None:
    """A folder beside that of a run or an attempt belongs to nothing, whatever is in it."""
    (run,) = store.folders("runs/")
    (attempt,) = store.folders(f"runs/{run}/attempts/")
    shutil.copytree(store.root / f"runs/{run}", store.root / f"runs/{run}.bak")
    start = store.get(f"runs/{run}/attempts/{attempt}/start.json")
    for key in (f"runs/{run}/attempts/bak/start.json", "runs/foo/attempts/start.json", "runs/foo/attempts/a/end.json"):
        store.put(key, start)
    imitated = f"runs/{'z' * 26}/attempts/{'z' * 26}/end.json"  # looks like a document, and is nobody's
    store.put(imitated, store.get(f"runs/{run}/attempts/{attempt}/end.json"))

    report = verify(store)

    assert report.ok
    assert {problem.kind for problem in report.problems} == {"unknown"}


def test_a_launch_under_a_wrong_name_is_named(store: LocalStore) -> None:
    """A pointer that says another launch key than its name would hand a run to a stranger."""
    wrong = launch_document("job/2")
    store.put(wrong, encode(Launch(launch_key="job/1", run=store.folders("runs/")[0])))

    assert only(verify(store))[:2] == ("damaged", wrong)


def test_where_there_is_no_store(tmp_path: Path) -> None:
    """An empty folder is no sound store."""
    with pytest.raises(NotFound):
        verify(LocalStore(tmp_path))


def test_checkpoints_and_replays_are_sound(asked: LocalStore) -> None:
    """Manifests, plans and results are documents like others; without their kinds they are strangers."""
    run = asked.folders("runs/")[0]

    assert verify(asked, kinds=ALL_KINDS).problems == ()
    report = verify(asked, run, kinds=ALL_KINDS)
    assert report.problems == ()
    assert report.counts["object"] >= 3
    assert {problem.kind for problem in verify(asked).problems} == {"unknown"}


@pytest.mark.parametrize("whole", [True, False])
def test_a_missing_part_of_a_checkpoint_is_named(asked: LocalStore, whole: bool) -> None:
    """An object that manifests name is missed once, also when only that run is verified."""
    run = asked.folders("runs/")[0]
    first = next(key for key in keys_with(asked, ".json") if "/checkpoints/" in key)
    lost = object_key(read_manifest(asked, first).tensors[0].object)
    asked.delete([lost])

    kind, key, detail = only(verify(asked, None if whole else run, kinds=ALL_KINDS))

    assert (kind, key) == ("missing", lost)
    assert "checkpoint" in detail


@pytest.mark.parametrize("part", ["/checkpoints/", "/plan.json", "/slices/"])
def test_a_damaged_document_of_a_replay_is_named(asked: LocalStore, part: str) -> None:
    """A manifest, a plan or a result that cannot be read, or that stands under another's name, is found."""
    key = next(info.key for info in asked.list() if part in info.key)
    whole = asked.get(key)
    asked.put(key, whole[:-3])
    assert ("damaged", key) in [(each.kind, each.key) for each in verify(asked, kinds=ALL_KINDS).problems]

    asked.put(key, whole)
    moved = key.replace("0000", "0001") if "plan" not in part else key.replace(key.split("/")[1], new_id())
    asked.put(moved, whole)
    assert only(verify(asked, kinds=ALL_KINDS))[:2] == ("damaged", moved)


def test_lost_answers_of_a_replay_are_named(asked: LocalStore) -> None:
    """A result says which segments it filed; one that is gone is missing."""
    result = next(info.key for info in asked.list() if "/slices/" in info.key)
    (segment,) = decode(asked.get(result), SliceResult, key=result).segments
    asked.delete([segment])

    assert only(verify(asked, kinds=ALL_KINDS))[:2] == ("missing", segment)


class Worn(LocalStore):
    """A store on a disk of which one file cannot be read; what is written anew lies elsewhere."""

    file_number = 0
    number = errno.EIO

    def open(self, key: str) -> BinaryIO:
        path = self.root / key
        if not path.exists() or path.stat().st_ino != self.file_number:
            return super().open(key)
        if self.number == errno.EIO:
            return open("/proc/self/mem", "rb")  # nothing can be read at its beginning
        with translated(path, key):
            raise OSError(self.number, os.strerror(self.number))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="nothing here fails to be read")
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
@pytest.mark.parametrize("part", [".parquet", "/end.json", ".bundle", "objects/"])
def test_a_file_that_cannot_be_read_is_named_and_repaired(
    store: LocalStore, recorded: Path, part: str, number: int
) -> None:
    """All others are read; only what would concern each of them ends the verification."""
    worn = Worn(store.root)
    key = next(info.key for info in store.list() if part in info.key)
    worn.file_number, worn.number = (worn.root / key).stat().st_ino, number

    report = verify(worn, check_code=check_snapshot, kinds=ALL_KINDS)

    assert [(each.kind, each.key) for each in report.problems if each.is_serious] == [("damaged", key)]
    assert os.strerror(number) in next(each.detail for each in report.problems if each.key == key)
    assert repair(worn, LocalStore(recorded), check_code=check_snapshot).repaired == [key]
    assert verify(worn).ok


def test_what_concerns_every_file_is_no_damage(store: LocalStore) -> None:
    """The process has opened as many files as it may."""
    worn = Worn(store.root)
    worn.file_number, worn.number = (worn.root / keys_with(store, ".parquet")[0]).stat().st_ino, errno.EMFILE

    with pytest.raises(StoreUnavailable, match="open files"):
        verify(worn)


@pytest.mark.s3
@pytest.mark.parametrize("address", remote("obstore", "s3fs"), indirect=True)
def test_a_copy_on_a_server_is_verified(recorded: Path, address: tuple[str, dict[str, object]]) -> None:
    """A store that was copied key by key is as sound there, and its damage is found there."""
    source, target = LocalStore(recorded), open_store(address[0], storage_options=address[1])
    for info in source.list():
        target.put(info.key, source.get(info.key))
    assert verify(target).problems == ()

    key = keys_with(target, ".parquet")[0]
    flip(target, key, 1)

    assert only(verify(target))[:2] == ("damaged", key)
