"""Compressed tensors: on their own, or as what differs from earlier ones of the same dtype and shape.

An object of this kind is the magic, the length of a JSON header (8 bytes, little-endian), the header, and one payload
that zstd has compressed. Items are taken as unsigned integers of their size. One with a base is replaced by its
difference from the base's item, modulo the size, in zigzag order (0, -1, 1, -2 … become 0, 1, 2, 3 …), so that a small
change of a float in either direction is a small number. Then, for each run of tensors with one item size, all lowest
bytes of the items come first, then all second ones and so on: bytes that are alike then stand together. The header says
where each base is stored, so that every object can be read without any other document.

Measured on weights and moments of Adam, an epoch apart: 0.53 to 0.77 of the tensor's size where XOR gave 0.55 to 0.78.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from tracker.checkpoint.tensors import ITEM_BYTES, TensorData
from tracker.errors import DamagedObject, NewerFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"hsdelta\0"
VERSION = 1
_MOST_EXPANDED = 40_000  # zstd itself cannot make more of one byte
_SAMPLES, _SAMPLE_ITEMS = 4, 2048


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tensor of an object, and the object and name of its base, if it has one."""

    dtype: str
    shape: tuple[int, ...]
    base_object: int | None = None  # its place among the bases of the header
    base_name: str = ""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    version: int = VERSION
    codec: str = "zstd"
    bases: tuple[str, ...] = ()  # objects
    parts: tuple[Part, ...]


class Base(msgspec.Struct, frozen=True):
    """A tensor to differ from, and where it is stored."""

    data: TensorData
    object: str
    name: str


def write_delta(tensors: Sequence[tuple[TensorData, Base | None]]) -> bytes:
    """An object of these tensors, which stand in the order of `sort_key`."""
    bases = sorted({base.object for _, base in tensors if base})
    parts = []
    for tensor, base in tensors:
        place, name = (bases.index(base.object), base.name) if base else (None, "")
        parts.append(Part(dtype=tensor.dtype, shape=tensor.shape, base_object=place, base_name=name))
    header = msgspec.json.encode(Header(bases=tuple(bases), parts=tuple(parts)))
    payload: bytes = _codec().compress(_planes(tensors), asbytes=True)
    return MAGIC + len(header).to_bytes(8, "little") + header + payload


def sort_key(tensor: TensorData | Part) -> int:
    """Tensors of one item size stand together."""
    return ITEM_BYTES[tensor.dtype]


def read_delta(data: bytes, *, digest: str) -> tuple[Header, list[bytes]]:
    """Header and items of an object, differences where there is a base; ``DamagedObject`` for anything else."""
    try:
        size = int.from_bytes(data[8:16], "little")
        header = msgspec.json.decode(data[16 : 16 + size], type=Header)
        if header.version > VERSION:
            raise NewerFormat(f"object {digest} is a delta of version {header.version}: upgrade to read it")
        sizes = [math.prod(part.shape) * ITEM_BYTES[part.dtype] for part in header.parts]
        payload = memoryview(data)[16 + size :]
        if header.codec != "zstd" or min(sizes) < 0 or sum(sizes) > _MOST_EXPANDED * len(payload):
            raise ValueError(f"{sum(sizes)} bytes in {len(payload)}")
        planes = _codec().decompress(payload, decompressed_size=sum(sizes), asbytes=True)
        return header, list(_items(header, sizes, planes))
    except (ValueError, LookupError, OSError, msgspec.MsgspecError) as exc:
        raise DamagedObject(f"object {digest} is no readable delta: {exc}") from exc


def _items(header: Header, sizes: list[int], planes: bytes) -> Iterator[bytes]:
    at, rest = 0, iter(sizes)
    for item_bytes, group in groupby(header.parts, sort_key):
        own = [next(rest) for _ in group]
        straight = _straight(planes[at : at + sum(own)], item_bytes)
        at, inner = at + sum(own), 0
        for size in own:
            yield straight[inner : inner + size]
            inner += size


def apply(items: bytes, base: TensorData) -> bytes:
    """The bytes of the tensor that differs so from its base."""
    zigzag, old = _integers(items, base.dtype), _integers(base.data, base.dtype)
    one = zigzag.dtype.type(1)
    found: bytes = (old + ((zigzag >> one) ^ (-(zigzag & one)))).tobytes()
    return found


def estimate(new: TensorData, old: TensorData | None = None) -> float:
    """About how large the tensor gets, beside its own size: alone, or as a difference from the old one."""
    import numpy as np

    item = ITEM_BYTES[new.dtype]
    count = new.size_bytes // item
    starts = np.linspace(0, max(0, count - _SAMPLE_ITEMS), _SAMPLES).astype(int) if count > _SAMPLE_ITEMS else [0]
    spans = [slice(int(start) * item, (int(start) + _SAMPLE_ITEMS) * item) for start in starts]
    sample = b"".join(_prepared(new, old, span) for span in spans)
    return len(_codec().compress(_turned(sample, item), asbytes=True)) / max(1, len(sample))


def is_near(new: TensorData, old: TensorData) -> bool:
    """Whether a difference has clearly fewer bits than the items have; a guess for tensors too small for samples."""
    import numpy as np

    bits = np.log2(_difference(new.data, old.data, new.dtype).astype(np.float64) + 1)
    return bool(bits.mean() < 0.7 * 8 * ITEM_BYTES[new.dtype])


def _planes(tensors: Sequence[tuple[TensorData, Base | None]]) -> bytes:
    whole = slice(None)
    found = []
    for item_bytes, group in groupby(tensors, lambda pair: sort_key(pair[0])):
        prepared = [_prepared(tensor, base.data if base else None, whole) for tensor, base in group]
        found.append(_turned(b"".join(prepared), item_bytes))
    return b"".join(found)


def _prepared(new: TensorData, old: TensorData | None, span: slice) -> bytes:
    return bytes(new.data[span]) if old is None else _difference(new.data[span], old.data[span], new.dtype).tobytes()


def _difference(new: bytes | memoryview, old: bytes | memoryview, dtype: str) -> NDArray[Any]:
    difference = _integers(new, dtype) - _integers(old, dtype)
    one = difference.dtype.type(1)
    is_negative = difference >> difference.dtype.type(8 * difference.itemsize - 1)
    zigzag: NDArray[Any] = (difference << one) ^ -is_negative
    return zigzag


def _integers(data: bytes | memoryview, dtype: str) -> NDArray[Any]:
    import numpy as np

    return np.frombuffer(data, f"<u{ITEM_BYTES[dtype]}")


def _turned(data: bytes, item_bytes: int) -> bytes:
    import numpy as np

    return np.frombuffer(data, np.uint8).reshape(-1, item_bytes).T.tobytes()


def _straight(data: bytes, item_bytes: int) -> bytes:
    import numpy as np

    return np.frombuffer(data, np.uint8).reshape(item_bytes, -1).T.tobytes()


def _codec() -> Any:
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=1)
