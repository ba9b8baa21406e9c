"""What cannot be had at the moment is no damage: nothing is left out, and whoever asked is told."""

from __future__ import annotations

import os
import resource
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.read.building import It, Logged, log_run
from tracker.errors import StoreUnavailable
from tracker.read import packs
from tracker.read.frame import dataframe
from tracker.read.indexed import scan_index
from tracker.read.select import runs
from tracker.read.source import parts_of
from tracker.store.memory import MemoryStore
from tracker.store.open import open_store
from tracker.store.segments import pieces
from tracker.store.verify import verify
from tracker.upkeep.compaction import compact


def epoch(number: int, loop: str = "epoch") -> Logged:
    """One record of a loop."""
    return Logged((It(loop, number),), "loss", number / 8)


@contextmanager
def no_more_files() -> Iterator[None]:
    """A process that has opened as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("indexed", [False, True])
def test_a_store_that_does_not_answer(indexed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame comes back short, and no segment is called damaged."""
    store = open_store(f"memory://{secrets.token_hex(8)}")
    for number in range(3):
        log_run(store, epoch(number))
    if indexed:
        compact(store)
    real = MemoryStore.open

    def away(self: MemoryStore, key: str) -> Any:
        if "data/" in key:
            raise StoreUnavailable(f"{key} cannot be fetched")
        return real(self, key)

    monkeypatch.setattr(MemoryStore, "open", away)

    with pytest.raises(StoreUnavailable, match="cannot be fetched"):
        dataframe(store, "loss")
    with pytest.raises(StoreUnavailable, match="cannot be fetched"):
        verify(store)


def test_a_full_table_of_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a segment nor a pack is taken for damaged."""
    monkeypatch.setattr(packs, "MOST_OPEN", 0)
    store = open_store(tmp_path / "store")
    run = log_run(store, epoch(0))
    compact(store)
    (view,) = scan_index(store) or []
    (packed,) = [part.piece for part in parts_of(view)]
    (segment,) = pieces(store, run)
    segment.schema()  # what is imported for it is imported

    for piece in (segment, packed):
        with no_more_files(), pytest.raises(StoreUnavailable, match="open files"):
            piece.read()
        assert len(piece.read()) == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not show the files of a process")
def test_few_packs_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tables there are, and as long as views of their runs live."""
    monkeypatch.setattr(packs, "MOST_OPEN", 2)
    store = open_store(tmp_path / "store")
    for number in range(6):
        log_run(store, epoch(number, f"loop{number}"), epoch(number, "epoch"))
    expected = dataframe(store, "loss")
    compact(store)

    views = runs(store)
    parts = [part for view in views for part in parts_of(view)]
    rows = sum(len(part.piece.read()) for _ in range(2) for part in parts)

    assert rows == 2 * len(expected) == 24
    assert sum("/index/data/" in path for path in _open_files()) <= 2
    assert dataframe(store, "loss").equals(expected)


def _open_files() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # that of the listing itself
