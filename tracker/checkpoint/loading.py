"""Reading states from a store: tensors when they are asked for, verified; whole checkpoints without any user code."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from tracker.checkpoint import deltas
from tracker.checkpoint.manifest import Manifest, Position, Tensor, list_checkpoints, read_manifest
from tracker.checkpoint.restoring import Restoring
from tracker.checkpoint.safetensors_file import read_file
from tracker.checkpoint.storing import LONGEST_CHAIN
from tracker.checkpoint.tensors import TensorData, check
from tracker.errors import DamagedObject, NotFound
from tracker.store.base import Store
from tracker.store.objects import get_object

_CACHED_BYTES = 256 << 20


def load_tensors(store: Store, manifest: Manifest) -> StoredTensors:
    """The tensors of a checkpoint; nothing is read before one is asked for."""
    return StoredTensors(store, manifest.tensors)


class StoredTensors(Sequence[TensorData]):
    """Tensors that are read when they are asked for, each verified against its digest.

    ``DamagedObject`` or ``KeyNotFound`` name the object. Not for several threads at once.
    """

    def __init__(self, store: Store, tensors: Sequence[Tensor]) -> None:
        self._store, self._tensors = store, tensors
        self._cache: OrderedDict[str, _Opened] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tensors)

    @overload
    def __getitem__(self, number: int) -> TensorData: ...
    @overload
    def __getitem__(self, number: slice) -> list[TensorData]: ...
    def __getitem__(self, number: int | slice) -> TensorData | list[TensorData]:
        if isinstance(number, slice):
            return [self._read(tensor) for tensor in self._tensors[number]]
        return self._read(self._tensors[number])

    def _read(self, tensor: Tensor) -> TensorData:
        found = self._find(tensor.object, tensor.name, 0)
        if found is None or found.digest != tensor.digest:
            raise DamagedObject(f"object {tensor.object} does not hold the tensor {tensor.name!r} {tensor.digest}")
        return found

    def _find(self, digest: str, name: str, depth: int) -> TensorData | None:
        """What an object holds under a name; for a delta, made from the tensor that it differs from."""
        opened = self._open(digest)
        if opened.header is None:
            return opened.tensors.get(name)
        if depth > LONGEST_CHAIN or not name.isdecimal() or int(name) >= len(opened.header.parts):
            return None
        part, items = opened.header.parts[int(name)], opened.items[int(name)]
        if part.base_object is None:
            return check(TensorData(part.dtype, part.shape, items))
        if not 0 <= part.base_object < len(opened.header.bases):
            return None
        base = self._find(opened.header.bases[part.base_object], part.base_name, depth + 1)
        if base is None or (base.dtype, base.shape) != (part.dtype, part.shape):
            return None
        return check(TensorData(part.dtype, part.shape, deltas.apply(items, base)))

    def _open(self, digest: str) -> _Opened:
        """An object, from the cache where it was read lately."""
        if digest not in self._cache:
            self._cache[digest] = _Opened(get_object(self._store, digest), digest)
        self._cache.move_to_end(digest)
        while len(self._cache) > 1 and sum(opened.size_bytes for opened in self._cache.values()) > _CACHED_BYTES:
            self._cache.popitem(last=False)
        return self._cache[digest]


class _Opened:
    """An object that was read and taken apart: a safetensors file, or a delta, which alone has a header."""

    def __init__(self, data: bytes, digest: str) -> None:
        self.tensors: dict[str, TensorData] = {}
        self.items: list[bytes] = []
        self.header: deltas.Header | None = None
        if data.startswith(deltas.MAGIC):
            self.header, self.items = deltas.read_delta(data, digest=digest)
            self.size_bytes = sum(map(len, self.items))
        else:
            self.tensors, self.size_bytes = read_file(data, digest=digest), len(data)


class Unloaded:
    """Stands for a pickled part that was not loaded because trust was not given."""

    def __repr__(self) -> str:
        return "<pickled: load with trust=True>"


class Checkpoint(Mapping[str, Any]):
    """The states of registered objects by name, as plain dicts and arrays, read when they are asked for.

    ``manifest`` says where and when it was taken. Not for several threads at once.
    """

    def __init__(self, store: Store, manifest: Manifest, *, trust: bool = False) -> None:
        self.manifest = manifest
        self._restoring = Restoring(load_tensors(store, manifest), trust=trust, registered=_Names(), stand_in=_stand_in)
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        for key, tree in self.manifest.objects.items():
            # Those before it come first: a later one may share parts with them.
            if key not in self._read:
                self._read[key] = self._restoring.give(tree, name=f"object.{key}")
            if key == name:
                break
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.manifest.objects)

    def __len__(self) -> int:
        return len(self.manifest.objects)

    def __repr__(self) -> str:
        return f"<checkpoint {self.manifest.number} of run {self.manifest.run}: {', '.join(self)}>"


class _Names(dict[str, Any]):
    """An object within another stays a name."""

    def __missing__(self, name: str) -> str:
        return f"<{name}>"


def _stand_in(kind: str, name: str, state: Any) -> Any:
    """The plain value in place of an object: its state, in the form that its own methods give out."""
    if kind == "pickle":
        return Unloaded()
    if kind in {"module", "state_dict"}:
        return state["state_dict"]
    if kind == "optimizer":
        return _optimizer(state)
    if kind == "getstate":
        return state["state"]
    return tuple(state) if kind == "namedtuple" else name if state is None else state


def _optimizer(state: dict[str, Any]) -> dict[str, Any]:
    """As ``Optimizer.state_dict`` gives it out: parameters are numbers, in the order of the groups."""
    numbers = iter(range(sum(state["sizes"])))
    groups = [
        {**group, "params": [next(numbers) for _ in range(size)]}
        for group, size in zip(state["groups"], state["sizes"], strict=True)
    ]
    return {"state": {n: item for n, item in enumerate(state["state"]) if item is not None}, "param_groups": groups}


At = str | int | Position | Mapping[str, Any] | None


def load(store: Store, run: str, at: At = None, *, trust: bool = False) -> Checkpoint:
    """One checkpoint of a run (its full id), without running code of anybody.

    ``at``: the key of a manifest, a position, loops with their indices (the last checkpoint there), a number in the
    order of time (negative from the end), or ``None`` and ``"latest"`` for the last one. ``NotFound`` says what there
    is. ``trust`` also loads pickled parts.
    """
    return Checkpoint(store, find_manifest(store, run, at), trust=trust)


def find_manifest(store: Store, run: str, at: At = None) -> Manifest:
    """The manifest that ``at`` stands for, as for `load`."""
    found = list_checkpoints(store, run)
    if not found:
        raise NotFound(f"run {run} has no checkpoint in {store.url}")
    if isinstance(at, Position | Mapping):
        return _manifest_at(store, run, found, at)
    if at is None or at == "latest":
        at = -1
    if isinstance(at, int) and -len(found) <= at < len(found):
        return read_manifest(store, found[at])
    if at in found:
        return read_manifest(store, str(at))
    raise NotFound(f"run {run} has no checkpoint {at!r}: it has {len(found)}, numbered 0 to {len(found) - 1}")


def _manifest_at(store: Store, run: str, found: list[str], at: Position | Mapping[str, Any]) -> Manifest:
    """The last checkpoint at this position, or in these iterations."""
    places: dict[str, None] = {}
    for key in reversed(found):
        manifest = read_manifest(store, key)
        position = manifest.position
        place = {**dict(position.around), position.loop: position.iteration}
        if position == at if isinstance(at, Position) else place == {**place, **at}:
            return manifest
        places[", ".join(f"{name}={value}" for name, value in place.items())] = None
    there = list(places)
    shown = " and ".join(dict.fromkeys((there[-1], there[0])))
    raise NotFound(f"run {run} has no checkpoint at {at}: it has {len(found)}, the first and last at {shown}")
