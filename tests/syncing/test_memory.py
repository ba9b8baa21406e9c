"""Stores of any size are synchronised in the same memory."""

from __future__ import annotations

import secrets
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.read.building import It, Logged, log_run
from tests.store.dict_driver import WRITTEN, DictDriver, remote
from tests.syncing.stores import contents
from tracker.store import ids, keys
from tracker.store import remote as remote_module
from tracker.store.base import Info, Store
from tracker.store.documents import CodeFile, EndDocument, Format, RunDocument, Snapshot, encode
from tracker.store.objects import put_object
from tracker.store.open import open_store
from tracker.syncing import needs, units
from tracker.syncing.stores import sync

_FORMAT = encode(Format(created=1.0, writer="test", conditional_put=True))
_SEGMENTS = 38


class Endless(DictDriver):
    """So many runs of 40 keys each, which are made when they are asked for and held nowhere."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self._runs = [ids.first_id(1_600_000_000_000 + number) for number in range(runs)]
        self.keys[keys.FORMAT] = _FORMAT

    def get(self, key: str) -> bytes:
        name = key.rsplit("/", 1)[-1]
        if name == "run.json":
            return encode(RunDocument(run=key.split("/")[1], project="p", created=1.0, script="s"))
        return encode(EndDocument(status="finished", ended=2.0)) if name == "end.json" else super().get(key)

    def list(self, prefix: str, after: str) -> Iterator[Info]:
        for run in self._runs if prefix.startswith(keys.RUNS) else ():
            if prefix in (keys.RUNS, keys.run_folder(run)):
                yield from (info for info in self._infos(run) if info.key > after)

    def _infos(self, run: str) -> Iterator[Info]:
        end, document = keys.attempt_document(run, run, "end"), keys.run_document(run)
        yield Info(end, len(self.get(end)), WRITTEN)
        for number in range(_SEGMENTS):
            yield Info(str(keys.SegmentKey(run, "epoch", run, 2 * number, 2 * number + 1)), 1000, WRITTEN)
        yield Info(document, len(self.get(document)), WRITTEN)

    def folders(self, prefix: str, after: str) -> Iterator[str]:
        yield from self._runs if prefix == keys.RUNS else ()

    def info(self, key: str) -> Info:
        return Info(key, len(self.get(key)), WRITTEN)


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (remote_module, "PIECE_KEYS", 1000),
        (units, "WINDOW_KEYS", 1000),
        (units, "WINDOW_UNITS", 25),
        (units, "_FEW_UNITS", 3),
        (needs, "_MOST", 10),
    ):
        assert getattr(module, name) > value
        monkeypatch.setattr(module, name, value)


def peak_of(source: Store, target: Store, runs: int) -> int:
    """The bytes of memory that a synchronisation takes at most."""
    tracemalloc.start()
    try:
        summary = sync(source, target, dry_run=True, threads=1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert summary.complete
        assert summary.runs == runs


@pytest.mark.parametrize("is_there", [False, True])
def test_memory_does_not_grow_with_the_store(is_there: bool) -> None:
    """Ten times the keys take no more than the names of the runs; where all is there already, too."""
    peaks = []
    for runs in (50, 500):
        target = remote(Endless(runs)) if is_there else open_store(f"memory://{secrets.token_hex(8)}")
        peaks.append(peak_of(remote(Endless(runs), "dict://source"), target, runs))

    assert peaks[1] - peaks[0] < 450 * 1000  # the names of the runs


def test_a_target_with_many_keys_of_a_run_is_not_held(tmp_path: Path) -> None:
    """Where a folder is brought to it, whose units do not show how many keys they have before they are looked at."""
    source, target = open_store(tmp_path / "source"), DictDriver()
    target.keys[keys.FORMAT] = _FORMAT
    names = [log_run(source, Logged((It("epoch", 0),), "loss", number)) for number in range(20)]
    sync(source, remote(target))
    for name in names:
        target.keys |= {f"{keys.RUNS}{name}/data/epoch/{number:05}.bin": b"" for number in range(200)}
    there = units.There(remote(target), keys.RUNS)
    held = []
    for start in range(0, 20, 10):
        window = [f"{keys.RUNS}{name}/" for name in sorted(names)[start : start + 10]]
        there.look_for(window)
        held.append(sum(map(len, there._listed.values())))
        assert [len(there.of(prefix)) for prefix in window] == [203] * 10

    assert 0 < max(held) < 1000 + 250
    assert sync(source, remote(target), full=True).keys == 0


@pytest.mark.parametrize("most", [10, 300_000])
def test_needed_payloads_are_looked_for_with_few_requests(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder of the target is listed once, or not at all where memory should not hold what it has."""
    monkeypatch.setattr(needs, "_MOST", most)
    monkeypatch.setattr(needs, "_FEW", 1)
    source, target = DictDriver(), DictDriver()
    for driver in (source, target):
        driver.keys[keys.FORMAT] = _FORMAT
    store = remote(source, "dict://source")
    for number in range(2000):
        put_object(remote(target), b"theirs %d" % number)
    target.listed, target.put_keys = [], []
    for number in range(200):
        shared = [b"shared", b"ours %d" % (number // 2), b"theirs %d" % number]
        files = [
            CodeFile(path=f"{n}.py", digest=put_object(store, data), size_bytes=9) for n, data in enumerate(shared)
        ]
        name = f"{number:064}"
        document = Snapshot(snapshot=name, kind="files", created=0.0, size_bytes=9, files=tuple(files))
        source.keys[keys.code_document(name)] = encode(document)

    summary = sync(store, remote(target))

    assert summary.counts == {"document": 200, "object": 101}
    assert sum(key.startswith(keys.OBJECTS) for key in target.put_keys) == 101
    assert len(target.listed) < (270 if most > 10 else 20)
    empty = open_store(f"memory://{secrets.token_hex(8)}")
    assert sync(store, empty, dry_run=True).counts == {"document": 200, "object": 301}


def test_what_is_there_already_is_not_copied_again() -> None:
    """Over several windows: runs that the target has, runs that it lacks, runs of its own between them."""
    source, target = DictDriver(), DictDriver()
    for driver in (source, target):
        driver.keys[keys.FORMAT] = _FORMAT
    for number in range(120):
        driver = (source, source, source, target)[number % 4]
        run = ids.first_id(1_600_000_000_000 + number)
        log_run(remote(driver), Logged((It("epoch", 0),), "loss", number), run=run)
    sync(remote(source, "dict://source"), remote(target), runs=list(source.folders(keys.RUNS, ""))[::3])
    before, target.put_keys = dict(target.keys), []

    summary = sync(remote(source, "dict://source"), remote(target), full=True)

    assert summary.complete
    assert len(summary.changed) == 60
    assert not before.keys() & set(target.put_keys)
    assert contents(remote(target)).items() >= contents(remote(source)).items()
    assert sum(key.endswith("/run.json") for key in target.keys) == 120
