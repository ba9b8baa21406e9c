"""Tensors of many checkpoints through one reader: each object is read once, also ahead of its use."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.test_storing import state, walk
from tracker.checkpoint import reading
from tracker.checkpoint.manifest import Manifest, Position
from tracker.checkpoint.reading import ReadAhead, StoredTensors, TensorReader
from tracker.checkpoint.storing import StoredState, store_state
from tracker.errors import DamagedObject
from tracker.store.ids import new_id
from tracker.store.keys import object_key
from tracker.store.memory import MemoryStore


class Counting(MemoryStore):
    """A store that counts how often each key is read, and tells of a read."""

    def __init__(self) -> None:
        super().__init__(new_id())
        self.reads: Counter[str] = Counter()
        self.read = threading.Event()

    def get(self, key: str, **more: Any) -> bytes:
        self.reads[key] += 1
        self.read.set()
        return super().get(key, **more)


def checkpoints(store: Counting, steps: int) -> list[StoredState]:
    """States of a training, each stored as a difference from the one before."""
    found: list[StoredState] = []
    for weights in walk(np.random.default_rng(0), 60_000, steps):
        found.append(store_state(store, state(weights=weights), found[-1] if found else None))
    return found


def manifest_of(stored: StoredState) -> Manifest:
    """A manifest with these tensors."""
    return Manifest(
        run=new_id(), attempt=new_id(), number=0, position=Position(loop="epoch", iteration=0), created=0.0,
        elapsed_s=0.0, block_s=0.0, cost_s=0.0, size_bytes=1, stored_bytes=1, tensors=stored.tensors,
    )  # fmt: skip


def test_a_chain_of_differences_is_read_once() -> None:
    """One checkpoint after the other costs one object each, and not all below it again."""
    store = Counting()
    states = checkpoints(store, 6)
    store.reads.clear()
    reader = TensorReader(store)

    for stored in states:
        assert StoredTensors(reader, stored.tensors)[0].digest == stored.tensors[0].digest

    assert set(store.reads.values()) == {1}


def test_old_ones_go_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound on memory costs reads and changes no value."""
    store = Counting()
    states = checkpoints(store, 6)
    monkeypatch.setattr(reading, "KEPT_BYTES", 500_000)
    reader = TensorReader(store)

    for stored in [*states, *reversed(states)]:
        assert reader.read(stored.tensors[0]).digest == stored.tensors[0].digest

    assert reader._made.size_bytes == sum(tensor.size_bytes for tensor in reader._made.values()) <= 500_000
    assert reader._opened.size_bytes == sum(opened.size_bytes for opened in reader._opened.values()) <= 500_000


def test_what_was_read_ahead_is_there() -> None:
    """The thread that reads ahead and the program meet in one reader."""
    store = Counting()
    stored = checkpoints(store, 0)[0]
    store.reads.clear()
    store.read.clear()
    reader = TensorReader(store)

    ReadAhead(reader).want(manifest_of(stored))
    assert store.read.wait(30)
    assert reader.read(stored.tensors[0]).digest == stored.tensors[0].digest

    assert set(store.reads.values()) == {1}


def test_damage_that_was_met_ahead_is_told_to_who_asks() -> None:
    """Reading ahead fails in silence and goes on with the next checkpoint."""
    store = Counting()
    broken, whole = (store_state(store, state(x=np.full(40_000, number))) for number in (1.0, 2.0))
    store.put(object_key(broken.tensors[0].object), b"damaged")
    reader = TensorReader(store)
    ahead = ReadAhead(reader)

    ahead.want(manifest_of(broken))
    ahead.want(manifest_of(whole))

    with pytest.raises(DamagedObject):
        reader.read(broken.tensors[0])
    assert reader.read(whole.tensors[0]).digest == whole.tensors[0].digest
