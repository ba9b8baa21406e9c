"""States are written once, as differences where that is smaller, and read back to the last bit."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.checkpoint import deltas, storing
from tracker.checkpoint.capturing import Capturing
from tracker.checkpoint.manifest import Tensor
from tracker.checkpoint.reading import StoredTensors, TensorReader
from tracker.checkpoint.storing import LONGEST_CHAIN, State, StoredState, hash_parts, store_state
from tracker.checkpoint.tensors import TensorData, from_bytes, from_numpy
from tracker.errors import DamagedObject, StoreUnavailable
from tracker.store.base import Store
from tracker.store.ids import new_id
from tracker.store.memory import MemoryStore


@pytest.fixture
def store() -> Store:
    """An empty store in memory."""
    return MemoryStore(new_id())


def state(**values: Any) -> State:
    """A state of these values, each a part."""
    tensors: list[TensorData] = []
    capturing = Capturing(tensors)
    return State({name: capturing.take(value, name) for name, value in values.items()}, tensors)


def same(store: Store, stored: StoredState, expected: State) -> bool:
    """Whether every tensor is read back as it was."""
    found = StoredTensors(TensorReader(store), stored.tensors)
    return [tensor.digest for tensor in found] == [tensor.digest for tensor in expected.tensors]


def walk(rng: Any, size: int, steps: int) -> list[Any]:
    """Weights over the steps of a training: each a little different from the one before."""
    weights = [rng.normal(size=size).astype(np.float32)]
    for _ in range(steps):
        weights.append(weights[-1] * np.float32(1 + 1e-5))
    return weights


def test_a_state_is_read_back(store: Store) -> None:
    """Small tensors from one file, a large one from its own."""
    it = state(small=[np.arange(5), np.ones(3, np.float32)], large=np.arange(100_000.0), empty=np.zeros(0))

    stored = store_state(store, it)

    assert same(store, stored, it)
    assert len({tensor.object for tensor in stored.tensors}) == 2
    assert stored.written_bytes == sum(info.size_bytes for info in store.list())


@pytest.mark.parametrize("size", [100, 100_000])
def test_what_did_not_change_costs_nothing(store: Store, size: int) -> None:
    """Neither between checkpoints nor within one, nor when an earlier value returns."""
    one, two = state(a=np.arange(size), b=np.arange(size)), state(a=np.ones(size), b=np.zeros(size))
    first = store_state(store, one)
    again = store_state(store, one, first)
    other = store_state(store, two, again)
    back = store_state(store, one, other)

    assert again.written_bytes == back.written_bytes == 0
    assert first.tensors[0].digest == first.tensors[1].digest
    assert same(store, back, one)


@pytest.mark.parametrize("size", [2000, 100_000])
def test_small_changes_are_stored_as_differences(store: Store, size: int) -> None:
    """Of at most eight in a row, and every one of them can be read."""
    steps = [state(w=weights) for weights in walk(np.random.default_rng(0), size, 20)]
    stored = [StoredState()]
    for it in steps:
        stored.append(store_state(store, it, stored[-1]))

    lengths = [len(item.rests_on) for item in stored[1:]]
    assert lengths[:11] == [*range(LONGEST_CHAIN + 1), 0, 1]
    assert all(same(store, item, it) for item, it in zip(stored[1:], steps, strict=True))
    assert stored[2].written_bytes < 0.6 * stored[1].written_bytes


@pytest.mark.parametrize("size", [5000, 50_000])
def test_noise_is_not_stored_as_a_difference(store: Store, size: int) -> None:
    """It would be no smaller; its exponents are alike, so it is compressed alone."""
    rng = np.random.default_rng(0)
    first = store_state(store, state(w=rng.random(size).astype("f4")))
    it = state(w=rng.random(size).astype("f4"))

    second = store_state(store, it, first)

    assert second.tensors[0].base is None
    assert second.written_bytes < 0.9 * first.written_bytes
    assert same(store, second, it)


def test_random_bytes_are_stored_as_they_are(store: Store) -> None:
    """Compression would only cost time."""
    rng = np.random.default_rng(0)
    first = store_state(store, state(w=rng.bytes(100_000)))

    second = store_state(store, state(w=rng.bytes(100_000)), first)

    assert not store.get(f"objects/{second.tensors[0].object[:2]}/{second.tensors[0].object}").startswith(deltas.MAGIC)


def test_hashes_do_not_depend_on_storage(store: Store) -> None:
    """A state has the same hashes as a difference, as a whole, and when it was never stored."""
    before, after = (state(w=weights, n=step) for step, weights in enumerate(walk(np.random.default_rng(0), 50_000, 1)))
    as_difference = store_state(store, after, store_state(store, before))
    as_whole = store_state(MemoryStore(new_id()), after)

    assert as_difference.tensors[0].base is not None
    assert as_difference.hashes == as_whole.hashes == hash_parts(after.parts, after.tensors)
    assert as_difference.state_hash == as_whole.state_hash


def test_hashes_tell_states_apart() -> None:
    """By part; the order of a set does not count, its items do."""
    one = state(a={"x", "y", ("z", 1)}, b=np.zeros(2), c=1)
    two = state(a={("z", 1), "y", "x"}, b=np.array([0.0, -0.0]), c=1.0)
    first, second = (hash_parts(it.parts, it.tensors) for it in (one, two))

    assert first["a"] == second["a"]
    assert first["b"] != second["b"]
    assert first["c"] != second["c"]


def test_a_new_process_goes_on_from_manifests(store: Store) -> None:
    """It writes nothing that they hold."""
    from types import SimpleNamespace

    it = state(w=np.arange(50_000))
    stored = store_state(store, it)

    again = store_state(store, it, StoredState.of([SimpleNamespace(tensors=stored.tensors, rests_on=stored.rests_on)]))  # type: ignore[list-item]

    assert again.written_bytes == 0


def test_a_failed_write_can_be_repeated(store: Store) -> None:
    """The base is as it was."""

    class Failing(MemoryStore):
        def put(self, key: str, data: bytes | memoryview) -> None:
            raise StoreUnavailable("gone")

    base = store_state(store, state(w=np.zeros(5)))
    it = state(w=np.ones(5))
    with pytest.raises(StoreUnavailable):
        store_state(Failing(new_id()), it, base)

    assert same(store, store_state(store, it, base), it)


@settings(deadline=None)
@given(st.data())
def test_any_states_survive(data: Any) -> None:
    """Whatever the dtypes and sizes, over several checkpoints."""
    store, stored = MemoryStore(new_id()), StoredState()
    dtypes = st.sampled_from(["f4", "f8", "i2", "u1", "?", "f2"])
    kinds = data.draw(st.lists(st.tuples(dtypes, st.integers(0, 40)), max_size=4))
    for _ in range(3):
        arrays = []
        for dtype, size in kinds:
            raw = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
            arrays.append(np.array(raw).astype(dtype))
        it = state(all=arrays)
        stored = store_state(store, it, stored)
        assert same(store, stored, it)


def test_files_are_those_of_safetensors(store: Store) -> None:
    """Its own library reads them."""
    from safetensors.numpy import load

    stored = store_state(store, state(net={"a": np.arange(6.0).reshape(2, 3), "b": np.array([True])}))

    found = load(store.get(f"objects/{stored.tensors[0].object[:2]}/{stored.tensors[0].object}"))

    assert found["net.a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["net.b"].tolist() == [True]


def put(store: Store, data: bytes) -> str:
    from tracker.store.objects import put_object

    return put_object(store, data)


def as_tensor(data: TensorData, object_digest: str, name: str = "tensor", base: str | None = None) -> Tensor:
    return Tensor(digest=data.digest, dtype=data.dtype, shape=data.shape, object=object_digest, name=name, base=base)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 20,
        b"\x02\0\0\0\0\0\0\0[]",
        (60).to_bytes(8, "little") + b'{"tensor":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}   ',
        (68).to_bytes(8, "little") + b'{"tensor":{"dtype":"F64","shape":[-1],"data_offsets":[-8,0]}}       ',
        deltas.MAGIC,
        deltas.MAGIC + (2).to_bytes(8, "little") + b"{}",
        deltas.MAGIC + (14).to_bytes(8, "little") + b'{"parts":[]} ' + b" junk",
    ],
)
def test_hostile_objects_are_refused(store: Store, data: bytes) -> None:
    """With an error of ours, whatever their bytes say."""
    tensor = as_tensor(from_bytes(b"12345678"), put(store, data))

    with pytest.raises(DamagedObject):
        StoredTensors(TensorReader(store), [tensor])[0]


def test_a_delta_cannot_claim_more_than_it_holds(store: Store) -> None:
    """Nothing of that size is allocated."""
    header = msgspec.json.encode(deltas.Header(parts=(deltas.Part(dtype="F64", shape=(10**15,)),)))
    digest = put(store, deltas.MAGIC + len(header).to_bytes(8, "little") + header + b"x" * 50)

    with pytest.raises(DamagedObject, match="no readable delta"):
        StoredTensors(TensorReader(store), [as_tensor(from_bytes(b"1"), digest, "0")])[0]


def test_a_chain_without_end_is_refused(store: Store) -> None:
    """One that is longer than any that is written."""
    data = from_numpy(np.arange(10))[0]
    entry = store_state(store, State({}, [data])).tensors[0]
    for _ in range(LONGEST_CHAIN + 2):
        digest = put(store, deltas.write_delta([(data, deltas.Base(data, entry.object, entry.name))]))
        entry = as_tensor(data, digest, "0", entry.digest)

    with pytest.raises(DamagedObject, match="does not hold"):
        StoredTensors(TensorReader(store), [entry])[0]


def test_a_tensor_that_is_not_the_one_named_is_refused(store: Store) -> None:
    """Its digest says which one it is."""
    stored = store_state(store, State({}, [from_bytes(b"one"), from_bytes(b"two")]))
    first, second = stored.tensors
    mixed = as_tensor(from_bytes(b"one"), second.object, second.name)

    assert first.object == second.object
    with pytest.raises(DamagedObject, match="does not hold"):
        StoredTensors(TensorReader(store), [mixed])[0]


def test_what_stays_as_it_is_is_never_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many other tensors came since: a frozen tensor is stored once, and so are those of the last state."""
    monkeypatch.setattr(storing, "_REMEMBERED", 5)
    base: StoredState | None = None
    for step in range(6):
        it = state(frozen=np.arange(40.0), many=[np.array([step, number]) for number in range(8)])
        base = store_state(store, it, base)
        assert same(store, base, it)
        assert len(base.known) <= 9 + 5

    assert len({tensor.object for tensor in base.tensors}) == 2
    assert store_state(store, it, base).written_bytes == 0
