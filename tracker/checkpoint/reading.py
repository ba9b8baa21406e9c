"""Reading tensors from a store, verified; what was read lately is kept, since later ones are differences from it."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar, overload

from tracker.checkpoint import deltas
from tracker.checkpoint.manifest import Manifest, Tensor
from tracker.checkpoint.safetensors_file import read_file
from tracker.checkpoint.storing import LONGEST_CHAIN
from tracker.checkpoint.tensors import TensorData, check
from tracker.errors import DamagedObject
from tracker.store.base import Store
from tracker.store.objects import get_object

KEPT_BYTES = 256 << 20  # of objects, and as much of tensors that were made from them
Key = TypeVar("Key")
Kept = TypeVar("Kept", "_Opened", TensorData)


class TensorReader:
    """Reads the tensors of any checkpoints of one store, each verified against its digest.

    ``DamagedObject`` or ``KeyNotFound`` name the object. Threads take turns.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._opened: _Latest[str, _Opened] = _Latest()
        self._made: _Latest[tuple[str, str], TensorData] = _Latest()
        self._lock = threading.Lock()

    def read(self, tensor: Tensor) -> TensorData:
        """One tensor, as it was captured."""
        with self._lock:
            found = self._find(tensor.object, tensor.name, 0)
        if found is None or found.digest != tensor.digest:
            raise DamagedObject(f"object {tensor.object} does not hold the tensor {tensor.name!r} {tensor.digest}")
        return found

    def _find(self, digest: str, name: str, depth: int) -> TensorData | None:
        """What an object holds under a name."""
        found = self._made.get((digest, name))
        if found is None:
            found = self._make(digest, name, depth)
            if found is not None:
                self._made.keep((digest, name), found)
        return found

    def _make(self, digest: str, name: str, depth: int) -> TensorData | None:
        """A tensor of a file; for one of a delta, made from that which it differs from."""
        opened = self._opened.get(digest)
        if opened is None:
            opened = self._opened.keep(digest, _Opened(get_object(self._store, digest), digest))
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


class ReadAhead:
    """Reads the tensors of the next checkpoint in a thread of its own, while the program is still at work.

    Problems are left to whoever asks for the tensor. Does nothing for states that memory should not hold twice.
    """

    def __init__(self, reader: TensorReader) -> None:
        self._reader = reader
        self._wanted: queue.SimpleQueue[Manifest] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def want(self, manifest: Manifest) -> None:
        """Begin to read; returns at once."""
        if manifest.size_bytes > KEPT_BYTES // 4:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="hindsight-read-ahead", daemon=True)
            self._thread.start()
        self._wanted.put(manifest)

    def _work(self) -> None:
        while True:
            manifest = self._wanted.get()
            try:
                for tensor in manifest.tensors:
                    self._reader.read(tensor)
            except Exception:  # noqa: BLE001  the program meets the same, and says so
                continue


class StoredTensors(Sequence[TensorData]):
    """The tensors of one checkpoint, read when they are asked for."""

    def __init__(self, reader: TensorReader, tensors: Sequence[Tensor]) -> None:
        self._reader, self._tensors = reader, tensors

    def __len__(self) -> int:
        return len(self._tensors)

    @overload
    def __getitem__(self, number: int) -> TensorData: ...
    @overload
    def __getitem__(self, number: slice) -> list[TensorData]: ...
    def __getitem__(self, number: int | slice) -> TensorData | list[TensorData]:
        if isinstance(number, slice):
            return [self._reader.read(tensor) for tensor in self._tensors[number]]
        return self._reader.read(self._tensors[number])


class _Latest(OrderedDict[Key, Kept], Generic[Key, Kept]):
    """The latest of what was used, up to a number of bytes, and never less than one."""

    size_bytes = 0

    def get(self, key: Key, default: None = None) -> Kept | None:  # type: ignore[override]
        """The value, now the latest."""
        if key not in self:
            return default
        self.move_to_end(key)
        return self[key]

    def keep(self, key: Key, value: Kept) -> Kept:
        """Add a value; the oldest go where there are too many bytes."""
        self[key] = value
        self.size_bytes += value.size_bytes
        while self.size_bytes > KEPT_BYTES and len(self) > 1:
            self.size_bytes -= self.popitem(last=False)[1].size_bytes
        return value


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
