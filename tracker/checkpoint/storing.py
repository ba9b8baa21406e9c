"""Writing states into a store: every tensor once, small ones together, and as differences where that is smaller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tracker.checkpoint import deltas
from tracker.checkpoint.hashing import hash_parts, hash_whole
from tracker.checkpoint.manifest import Manifest, Tensor
from tracker.checkpoint.safetensors_file import write_file
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import Tree, tensor_places
from tracker.store.base import Store
from tracker.store.objects import put_object

Item = TypeVar("Item", bound=tuple[Any, ...])

__all__ = ["State", "StoredState", "hash_parts", "hash_whole", "store_state"]

SMALL_BYTES = 64 << 10  # below, tensors share an object
PACK_BYTES = 16 << 20
LONGEST_CHAIN = 8
WORTHWHILE = 0.85  # a delta larger than this part of the tensor only makes reading slower
_REMEMBERED = 50_000


@dataclass(frozen=True)
class State:
    """Parts of a state by name (``object.model``, ``generator.torch``, ``local.loss``) and the tensors of all."""

    parts: Mapping[str, Tree]
    tensors: Sequence[TensorData]


@dataclass
class StoredState:
    """What became of a state in the store, and what the next one can build on."""

    tensors: tuple[Tensor, ...] = ()
    written_bytes: int = 0
    hashes: dict[str, str] = field(default_factory=dict)
    state_hash: str = ""
    known: dict[str, Tensor] = field(default_factory=dict)  # by digest: all that the run has stored
    latest: dict[str, TensorData] = field(default_factory=dict)  # by place in the trees: of the last checkpoint

    @classmethod
    def of(cls, manifests: Sequence[Manifest]) -> StoredState:
        """To go on from checkpoints that an earlier process has stored: what they hold is not written again."""
        return cls(known={tensor.digest: tensor for manifest in manifests for tensor in manifest.tensors})


def store_state(store: Store, state: State, base: StoredState | None = None) -> StoredState:
    """Write what the store does not have yet; the manifest, which names all of it, is the caller's to publish.

    Blocks; made for a thread of its own. ``base`` is the result for the state before. A crash leaves objects that
    nothing names. Raises what the store raises; the base can then be used again.
    """
    writer = _Writer(store, base or StoredState())
    places = {number: path for name, tree in state.parts.items() for path, number in tensor_places(tree, name)}
    named = {places.get(number, f"tensor.{number}"): tensor for number, tensor in enumerate(state.tensors)}
    writer.write(named)
    hashes = hash_parts(state.parts, state.tensors)
    known = dict(list(writer.known.items())[-_REMEMBERED:])
    return StoredState(
        tensors=tuple(writer.known[tensor.digest] for tensor in state.tensors),
        written_bytes=writer.written_bytes,
        hashes=hashes,
        state_hash=hash_whole(hashes),
        known=known,
        latest=named,
    )


class _Writer:
    """One checkpoint on its way into the store."""

    def __init__(self, store: Store, base: StoredState) -> None:
        self.store, self.base = store, base
        self.known = dict(base.known)
        self.written_bytes = 0

    def write(self, named: Mapping[str, TensorData]) -> None:
        """Store every tensor that is not known, as a delta where its predecessor lies near."""
        fresh = {tensor.digest: (path, tensor) for path, tensor in named.items() if tensor.digest not in self.known}
        whole, different = {}, []
        for path, tensor in fresh.values():
            if (old := self._predecessor(path, tensor)) is None:
                whole[path] = tensor
            else:
                different.append((path, tensor, self.known[old.digest], old))
        large = [item for item in different if item[1].size_bytes >= SMALL_BYTES]
        small = [item for item in different if item[1].size_bytes < SMALL_BYTES]
        for group in [[item] for item in large] + list(_packs(small)):
            if not self._write_delta(group):
                whole |= {path: tensor for path, tensor, _, _ in group}
        self._write_whole(whole)

    def _predecessor(self, path: str, tensor: TensorData) -> TensorData | None:
        """The tensor that stood in the same place, when a delta from it seems worthwhile."""
        old = self.base.latest.get(path)
        if old is None or (old.dtype, old.shape) != (tensor.dtype, tensor.shape) or not tensor.size_bytes:
            return None
        stored = self.known.get(old.digest)
        if stored is None or len(stored.rests_on) >= LONGEST_CHAIN:
            return None
        is_small = tensor.size_bytes < SMALL_BYTES
        return old if is_small or deltas.estimate(tensor, old) <= WORTHWHILE else None

    def _write_delta(self, group: list[tuple[str, TensorData, Tensor, TensorData]]) -> bool:
        """Whether the delta was smaller, and is stored."""
        group = sorted(group, key=lambda item: deltas.sort_key(item[1]))
        data = deltas.write_delta([(tensor, stored, old) for _, tensor, stored, old in group])
        if len(data) > WORTHWHILE * sum(tensor.size_bytes for _, tensor, _, _ in group):
            return False
        digest = self._put(data)
        for number, (_, tensor, stored, _) in enumerate(group):
            rests_on = (stored.object, *stored.rests_on)
            self._add(tensor, Tensor(
                digest=tensor.digest, dtype=tensor.dtype, shape=tensor.shape, object=digest, name=str(number),
                base=stored.digest, rests_on=rests_on,
            ))  # fmt: skip
        return True

    def _write_whole(self, whole: Mapping[str, TensorData]) -> None:
        large = [[("tensor", tensor)] for tensor in whole.values() if tensor.size_bytes >= SMALL_BYTES]
        small = [(path, tensor) for path, tensor in whole.items() if tensor.size_bytes < SMALL_BYTES]
        for pack in [*large, *_packs(small)]:
            digest = self._put(write_file(dict(pack)))
            for name, tensor in pack:
                entry = Tensor(digest=tensor.digest, dtype=tensor.dtype, shape=tensor.shape, object=digest, name=name)
                self._add(tensor, entry)

    def _add(self, tensor: TensorData, entry: Tensor) -> None:
        self.known[tensor.digest] = entry

    def _put(self, data: bytes) -> str:
        self.written_bytes += len(data)
        return put_object(self.store, data)


def _packs(items: Sequence[Item]) -> Iterator[list[Item]]:
    """The items in groups of a bounded size; the tensor is the second part of each."""
    pack: list[Item] = []
    size = 0
    for item in items:
        if pack and size + item[1].size_bytes > PACK_BYTES:
            yield pack
            pack, size = [], 0
        pack.append(item)
        size += item[1].size_bytes
    if pack:
        yield pack
