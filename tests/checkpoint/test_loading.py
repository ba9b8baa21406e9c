"""Checkpoints are read as plain values, without the program that wrote them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tracker.checkpoint.capturing import Capturing
from tracker.checkpoint.loading import Unloaded, load
from tracker.checkpoint.manifest import Manifest, Position
from tracker.checkpoint.objects import take_object
from tracker.checkpoint.storing import State, store_state
from tracker.checkpoint.tensors import TensorData
from tracker.errors import NotFound
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import encode
from tracker.store.ids import new_id
from tracker.store.memory import MemoryStore


class Trainer:
    """An ordinary class that holds what is registered beside it."""

    def __init__(self, weights: Any) -> None:
        self.weights, self.best, self.odd = weights, 0.5, Odd()


class Odd:
    def __reduce__(self) -> Any:
        return Odd, ()


def taken(store: Store, run: str, number: int, **objects: Any) -> Manifest:
    """A checkpoint of these objects, published."""
    tensors: list[TensorData] = []
    capturing = Capturing(tensors, allow_pickle=True, registered=objects)
    trees = {name: take_object(capturing, obj, f"object.{name}") for name, obj in objects.items()}
    stored = store_state(store, State({f"object.{name}": tree for name, tree in trees.items()}, tensors))
    manifest = Manifest(
        run=run,
        attempt=run,
        number=number,
        position=Position(loop="epoch", iteration=number),
        created=0.0,
        elapsed_s=0.0,
        block_s=0.0,
        cost_s=0.0,
        size_bytes=0,
        stored_bytes=stored.written_bytes,
        objects=trees,
        tensors=stored.tensors,
    )
    store.put(keys.checkpoint_document(run, run, number), encode(manifest))
    return manifest


@pytest.fixture
def store() -> Store:
    """An empty store in memory."""
    return MemoryStore(new_id())


def test_states_are_plain_values(store: Store) -> None:
    """Objects are dicts of their attributes, other registered objects are named, and pickles stay closed."""
    run, weights = new_id(), np.arange(3.0)
    taken(store, run, 0, weights=weights, trainer=Trainer(weights))

    found = load(store, run)

    assert list(found) == ["weights", "trainer"]
    assert found["trainer"]["best"] == 0.5
    assert found["trainer"]["weights"] == "<weights>"
    assert isinstance(found["trainer"]["odd"], Unloaded)
    assert found["weights"].tolist() == [0, 1, 2]


def test_trust_opens_pickles(store: Store) -> None:
    """And nothing else does."""
    run = new_id()
    taken(store, run, 0, trainer=Trainer(None))

    assert type(load(store, run, trust=True)["trainer"]["odd"]).__name__ == "Odd"


def test_checkpoints_are_chosen(store: Store) -> None:
    """The last one, by number, by key, or by position."""
    run = new_id()
    for number in range(3):
        taken(store, run, number, weights=np.array([number]))
    key = keys.checkpoint_document(run, run, 1)

    chosen = [None, "latest", 0, -3, key, Position(loop="epoch", iteration=1)]

    assert [load(store, run, at)["weights"].item() for at in chosen] == [2, 2, 0, 0, 1, 1]
    with pytest.raises(NotFound, match="it has 3"):
        load(store, run, 3)
    with pytest.raises(NotFound, match="no checkpoint in"):
        load(store, new_id())


@pytest.mark.torch
def test_networks_and_optimizers_are_state_dicts(store: Store) -> None:
    """Their own ``load_state_dict`` takes them."""
    torch: Any = pytest.importorskip("torch")
    net = torch.nn.Linear(2, 2).bfloat16()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2).bfloat16()).sum().backward()
    optimizer.step()
    run = new_id()
    taken(store, run, 0, net=net, optimizer=optimizer)

    found = load(store, run)
    other = torch.nn.Linear(2, 2).bfloat16()
    other.load_state_dict(found["net"])
    again = torch.optim.Adam(other.parameters())
    again.load_state_dict(found["optimizer"])

    assert torch.equal(other.weight, net.weight)
    assert str(again.state_dict()) == str(optimizer.state_dict())
