"""Writing states into a store: every tensor once, small ones together, and as differences where that is smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tracker.checkpoint import deltas
from tracker.checkpoint.hashing import hash_parts, hash_whole
from tracker.checkpoint.manifest import Manifest, Tensor
from tracker.checkpoint.safetensors_file import write_file
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import Tree, tensor_places
from tracker.errors import Conflict
from tracker.store.base import Store
from tracker.store.holds import relying
from tracker.store.keys import object_key
from tracker.store.objects import store_object

Item = TypeVar("Item", bound=tuple[Any, ...])

__all__ = ["State", "StoredState", "hash_parts", "hash_whole", "publish_state", "store_state"]

SMALL_BYTES = 64 << 10  # below, tensors share an object
PACK_BYTES = 16 << 20
LONGEST_CHAIN = 8
WORTHWHILE = 0.9  # a compressed tensor larger than this part of it only makes reading slower
CHAIN_WORTH = 0.04  # what a difference must save beyond compression alone, because its base must be read, too
_REMEMBERED = 50_000  # tensors besides those of the last checkpoint
_PUBLISHING_TRIES = 5


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
    rests_on: tuple[str, ...] = ()  # what the manifest must name besides the tensors' own objects
    known: dict[str, Tensor] = field(default_factory=dict)  # by digest: all that the run has stored
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by digest: objects below a delta
    latest: dict[str, TensorData] = field(default_factory=dict)  # by place in the trees: of the last checkpoint
    own: set[str] = field(default_factory=set)  # objects that this process wrote, or has named in a document before

    @property
    def objects(self) -> tuple[str, ...]:
        """All objects that a document of this state names."""
        return tuple(dict.fromkeys((*(tensor.object for tensor in self.tensors), *self.rests_on)))

    @property
    def found(self) -> tuple[str, ...]:
        """Those that were in the store before, and that nothing may name yet."""
        return tuple(digest for digest in self.objects if digest not in self.own)

    @classmethod
    def of(cls, manifests: Sequence[Manifest]) -> StoredState:
        """To go on from checkpoints that an earlier process has stored: what they hold is not written again."""
        known: dict[str, Tensor] = {}
        chains: dict[str, tuple[str, ...]] = {}
        for manifest in manifests:
            known |= {tensor.digest: tensor for tensor in manifest.tensors}
            chains |= {tensor.digest: manifest.rests_on for tensor in manifest.tensors if tensor.base}
        return cls(known=known, chains=chains)


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
    digests = [tensor.digest for tensor in state.tensors]
    known = _remembered(writer.known, digests)
    return StoredState(
        tensors=tuple(known[digest] for digest in digests),
        written_bytes=writer.written_bytes,
        hashes=hashes,
        state_hash=hash_whole(hashes),
        rests_on=tuple(sorted({below for digest in digests for below in writer.chains.get(digest, ())})),
        known=known,
        chains={digest: chain for digest, chain in writer.chains.items() if digest in known},
        latest=named,
        own=writer.own,
    )


def _remembered(known: Mapping[str, Tensor], current: Iterable[str]) -> dict[str, Tensor]:
    """What the next checkpoint may find: all of this one, and the latest of the others."""
    kept = {digest: known[digest] for digest in current}
    others = [item for item in known.items() if item[0] not in kept]
    return dict(others[-_REMEMBERED:]) | kept


def publish_state(
    store: Store,
    state: State,
    base: StoredState | None,
    publish: Callable[[StoredState], None],
    *,
    further: Callable[[], Iterable[str]] = tuple,
) -> StoredState:
    """Write a state and call ``publish`` for the document that names it, when all that it names is there for good.

    What was found in the store may be swept away before the document is there; then everything is written anew.
    ``further`` stores other payloads of the document and gives the digests of those that were found. Blocks while a
    sweep is at work. ``Conflict`` when sweeps take it away again and again.
    """
    for _ in range(_PUBLISHING_TRIES):
        found, stored = further(), store_state(store, state, base)
        with relying(store, map(object_key, (*found, *stored.found))) as gone:
            if not gone:
                publish(stored)
                stored.own.update(stored.objects)
                return stored
        base = None
    raise Conflict(f"payloads of {store.url} were deleted {_PUBLISHING_TRIES} times while they were about to be used")


class _Writer:
    """One checkpoint on its way into the store."""

    def __init__(self, store: Store, base: StoredState) -> None:
        self.store, self.latest = store, base.latest
        self.known, self.chains, self.own = dict(base.known), dict(base.chains), base.own
        self.written_bytes = 0

    def write(self, named: Mapping[str, TensorData]) -> None:
        """Store every tensor that is not known. One that stands where no other stood before is not compressed: it may
        never change, and other programs read it as it is.
        """
        fresh = {tensor.digest: (path, tensor) for path, tensor in named.items() if tensor.digest not in self.known}
        whole, small = {}, []
        for path, tensor in fresh.values():
            old = self._predecessor(path, tensor)
            if old is None:
                whole[path] = tensor
            elif tensor.size_bytes < SMALL_BYTES:
                small.append((path, tensor, self._base(old) if deltas.is_near(tensor, old) else None))
            elif not self._write_large(path, tensor, old):
                whole[path] = tensor
        for group in _packs(small):
            if not self._write_delta(group):
                whole |= {path: tensor for path, tensor, _ in group}
        self._write_whole(whole)

    def _predecessor(self, path: str, tensor: TensorData) -> TensorData | None:
        """The tensor of the same form that stood in the same place."""
        old = self.latest.get(path)
        fits = old is not None and (old.dtype, old.shape) == (tensor.dtype, tensor.shape) and tensor.size_bytes
        return old if fits else None

    def _base(self, old: TensorData) -> deltas.Base | None:
        """Where the old tensor is stored, when a further delta may rest on it."""
        stored = self.known.get(old.digest)
        if stored is None or len(self.chains.get(old.digest, ())) >= LONGEST_CHAIN:
            return None
        return deltas.Base(old, stored.object, stored.name)

    def _write_large(self, path: str, tensor: TensorData, old: TensorData) -> bool:
        """Whether it was worthwhile to compress the tensor, by some samples of it, and is stored."""
        base = self._base(old)
        alone = deltas.estimate(tensor)
        if base is not None and deltas.estimate(tensor, old) > alone - CHAIN_WORTH:
            base = None
        return (base is not None or alone <= WORTHWHILE) and self._write_delta([(path, tensor, base)])

    def _write_delta(self, group: list[tuple[str, TensorData, deltas.Base | None]]) -> bool:
        """Whether the group got smaller, and is stored."""
        group = sorted(group, key=lambda item: deltas.sort_key(item[1]))
        data = deltas.write_delta([(tensor, base) for _, tensor, base in group])
        if len(data) > WORTHWHILE * sum(tensor.size_bytes for _, tensor, _ in group):
            return False
        digest = self._put(data)
        for number, (_, tensor, base) in enumerate(group):
            self._add(tensor, digest, str(number), base)
        return True

    def _write_whole(self, whole: Mapping[str, TensorData]) -> None:
        large = [[("tensor", tensor)] for tensor in whole.values() if tensor.size_bytes >= SMALL_BYTES]
        small = [(path, tensor) for path, tensor in whole.items() if tensor.size_bytes < SMALL_BYTES]
        for pack in [*large, *_packs(small)]:
            digest = self._put(write_file(dict(pack)))
            for name, tensor in pack:
                self._add(tensor, digest, name)

    def _add(self, tensor: TensorData, where: str, name: str, base: deltas.Base | None = None) -> None:
        below = base.data.digest if base else None
        self.known[tensor.digest] = Tensor(
            digest=tensor.digest, dtype=tensor.dtype, shape=tensor.shape, object=where, name=name, base=below
        )
        if base:
            self.chains[tensor.digest] = (base.object, *self.chains.get(base.data.digest, ()))

    def _put(self, data: bytes) -> str:
        self.written_bytes += len(data)
        digest, is_new = store_object(self.store, data)
        if is_new:
            self.own.add(digest)
        return digest


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
