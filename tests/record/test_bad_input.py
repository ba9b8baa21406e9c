"""Disks that are full or read-only, stores that are away, newer or damaged: a clear word, a counted loss, no other."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import tracker
from tests.record import reading
from tests.record.scripts import Done, read, run_script
from tracker.errors import DamagedSegment, NewerFormat, StoreReadOnly
from tracker.store.local import LocalStore
from tracker.store.open import open_store
from tracker.store.recovery import recover
from tracker.store.segments import pieces


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB, which only an administrator can make."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


FILL = """
import random, sys
import tracker
tracker.init(journal_bytes=1 << 20, on_full=sys.argv[1])
chance = random.Random(1)
total = int(sys.argv[2])
for step in tracker.loop("step", range(total)):
    assert tracker.log("number", step) == step
    tracker.log("noise", chance.randbytes(300))
print("computed", sum(range(total)))
"""


def check_told_losses(done: Done, total: int) -> None:
    """The program computed what it would have; what is not there was counted and said."""
    assert (done.code, done.out) == (0, f"computed {sum(range(total))}\n")
    store = open_store(done.store)
    recover(store, store)
    numbers, noise = read(done, "number"), read(done, "noise")
    told = re.search(r"lost records: (\d+) \(no room\)", done.err)
    assert told is not None
    assert int(told[1]) == 2 * total - len(numbers) - len(noise)
    assert numbers == sorted(set(numbers))
    assert 0 < len(numbers) < total


def test_a_full_disk_costs_counted_records_and_nothing_else(disk: Path) -> None:
    """What fits is recorded, the rest is counted and told at the end; the program goes on."""
    done = run_script(disk, FILL, "drop", "30000")

    assert "no space is left" in done.err
    check_told_losses(done, 30_000)


def test_a_limit_on_the_size_of_files_costs_counted_records(tmp_path: Path) -> None:
    """A journal that may not be as long as it should be is no reason to die."""
    limit = ("prlimit", "--fsize=500000")

    done = run_script(
        tmp_path, FILL.replace("journal_bytes=1 << 20", "journal_bytes=8 << 20"), "drop", "100", prefix=limit
    )

    assert (done.code, done.out) == (0, "computed 4950\n")
    assert "file size limit" in done.err
    assert "lost records: 200 (no room)" in done.err


def test_a_full_disk_can_be_an_error(disk: Path) -> None:
    """With ``on_full="raise"`` the log that finds no room says so, and everything before it is there."""
    done = run_script(disk, FILL, "raise", "30000")

    assert done.code == 1
    assert "StoreFull: no space is left" in done.err
    store = open_store(done.store)
    recover(store, store)
    numbers = read(done, "number")
    assert numbers == list(range(len(numbers)))
    assert len(numbers) - len(read(done, "noise")) in (0, 1)


WAIT = """
import os, random, shutil, threading, time
import tracker

def make_room():
    while shutil.disk_usage(".").free > 1_300_000:
        time.sleep(0.01)
    time.sleep(0.5)
    os.unlink("filler")

tracker.init(journal_bytes=1 << 20, on_full="wait")
threading.Thread(target=make_room, daemon=True).start()
chance = random.Random(1)
for number in range(8_000):
    tracker.log("number", number)
    tracker.log("noise", chance.randbytes(300))
"""


def test_a_log_can_wait_for_room(disk: Path) -> None:
    """With ``on_full="wait"`` the program stands still until there is room, and nothing is lost."""
    subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
    (disk / "filler").write_bytes(bytes(13 << 20))  # leaves room for three journals; without it all data have room

    done = run_script(disk, WAIT)

    assert (done.code, "lost" in done.err) == (0, False)
    assert read(done, "number") == list(range(8_000))
    assert len(read(done, "noise")) == 8_000


def test_a_read_only_store_is_named_by_init_and_told_by_log(disk: Path) -> None:
    """``init`` raises; a program that only logs goes on and hears once that nothing is recorded."""
    open_store(disk / "store")
    (disk / "train.py").touch()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(StoreReadOnly, match="Read-only file system"):
        tracker.init(store=disk / "store", capture=())

    code = "import tracker\nfor i in tracker.loop('step', range(3)): tracker.log('x', i)\nprint(tracker.log('x', 5))"
    done = run_script(disk.parent / "other", code, HINDSIGHT_STORE=str(disk / "store"))

    assert (done.code, done.out) == (0, "5\n")
    assert "Read-only file system" in done.err
    assert "Traceback" not in done.err
    assert re.search(r"lost records: \d", done.err)


def test_a_newer_store_is_refused_and_not_touched(tmp_path: Path) -> None:
    """A store of a format to come is neither read nor written, and the message says what helps."""
    store = open_store(tmp_path / "store")
    store.put("format.json", json.dumps(json.loads(store.get("format.json")) | {"format": 2}).encode())
    before = {info.key: info.modified for info in store.list()}

    for use in (
        lambda: tracker.init(store=tmp_path / "store", capture=()),
        lambda: tracker.dataframe(store=tmp_path / "store"),
        lambda: tracker.runs(store=tmp_path / "store"),
    ):
        with pytest.raises(NewerFormat, match="upgrade"):
            use()
    assert {info.key: info.modified for info in store.list()} == before


def finished_run(folder: Path) -> tuple[LocalStore, str]:
    """A store with one run that has two loop paths."""
    with tracker.run(store=folder / "store", capture=()) as run:
        for epoch in tracker.loop("epoch", range(3)):
            for step in tracker.loop("step", range(3)):
                tracker.log("loss", epoch + step / 4)
            tracker.log("score", epoch)
    return LocalStore(folder / "store"), run.id


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        ("cut", ["score"]),
        ("zeroes", ["score"]),
        ("empty", ["score"]),
        ("text", ["score"]),
        ("flipped", ["score", "loss"]),
    ],
)
def test_a_damaged_segment_is_named_and_loses_no_neighbour(tmp_path: Path, damage: str, names: list[str]) -> None:
    """The error names the key; the other path of the run reads as before."""
    store, run = finished_run(tmp_path)
    (key,) = (info.key for info in store.list() if "/epoch.step/" in info.key)
    data = store.get(key)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    pages = bytes(byte ^ 0xFF for byte in data[4:footer])
    store.put(key, {
        "cut": data[: len(data) // 2], "zeroes": bytes(len(data)), "empty": b"", "text": b"hello",
        "flipped": data[:4] + pages + data[footer:],
    }[damage])  # fmt: skip

    (damaged,) = (piece for piece in pieces(store, run) if piece.key.path == "epoch.step")
    with pytest.raises(DamagedSegment, match=re.escape(key)):
        damaged.read()
    with pytest.warns(UserWarning, match=re.escape(key.rsplit("/", 1)[1][:26])):
        frame = tracker.dataframe(*names, store=store)
    assert frame["score"].dropna().tolist() == [0, 1, 2]


def test_a_segment_of_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    """It is not taken for damage."""
    import pyarrow.parquet as pq

    store, run = finished_run(tmp_path)
    (key,) = (info.key for info in store.list() if "/epoch/" in info.key)
    table = pq.read_table(store.local_path(key))
    described = json.loads(table.schema.metadata[b"hindsight"]) | {"format": 2}
    pq.write_table(table.replace_schema_metadata({"hindsight": json.dumps(described)}), store.local_path(key))

    (newer,) = (piece for piece in pieces(store, run) if piece.key.path == "epoch")
    with pytest.raises(NewerFormat, match="upgrade"):
        newer.read()


def test_strangers_in_the_store_are_passed_over(tmp_path: Path) -> None:
    """Files that are not ours, in any folder, disturb neither reading nor recovery."""
    store, run = finished_run(tmp_path)
    for stray in ("", "runs/", f"runs/{run}/", f"runs/{run}/data/epoch/", f"runs/{run}/journal/", "runs/not-a-run/"):
        for name in ("README.txt", ".DS_Store", "x.journal", "x.parquet"):
            store.put(f"{stray}{name}", b"stray")

    assert recover(store, store).problems == {}
    assert reading.values(store, run, "score") == [0, 1, 2]
    assert len(tracker.runs(store=store)) == 1


def test_a_damaged_journal_is_reported_and_stops_no_other(tmp_path: Path) -> None:
    """Recovery names it, leaves it where it is, and recovers its neighbours."""
    code = """
import os
import tracker
tracker.init(journal_limit_bytes=1 << 30, journal_bytes=4096)
tracker.log("x", 1)
path = tracker.record.lifecycle.active_run().recorder.journal.path
bad = path.with_name(path.name.replace("-", "_0000000a-"))
bad.write_bytes(b"HSJRNL01" + bytes(5000))
tracker.log("x", 2)
os._exit(0)
"""
    done = run_script(tmp_path, code)
    store = open_store(done.store)

    recovered = recover(store, store)

    ((key, problem),) = recovered.problems.items()
    assert "_0000000a-" in key
    assert "damaged header" in problem
    assert len(recovered.journals) == 1
    assert read(done, "x") == [1, 2]
