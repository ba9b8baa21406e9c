"""Deltas: tensors as what differs from earlier ones of the same dtype and shape.

A delta object is the magic, the length of a JSON header (8 bytes, little-endian), the header, and one compressed
payload. For each run of tensors with one item size, the payload holds the XOR of their bytes with those of their bases,
turned so that all first bytes of the items come first, then all second ones and so on: bytes that seldom change then
stand together as zeros. The header names every tensor with its base and where that one is stored, so that a delta can
be read without any other document.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from tracker.checkpoint.manifest import Tensor
from tracker.checkpoint.tensors import ITEM_BYTES, TensorData
from tracker.errors import DamagedObject, NewerFormat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAGIC = b"hsdelta\0"
VERSION = 1
_MOST_EXPANDED = 40_000  # zstd itself cannot make more of one byte
_SAMPLES, _SAMPLE_ITEMS = 4, 4096


class Difference(msgspec.Struct, frozen=True):
    """One tensor of a delta object: what it is, and the stored tensor that it differs from."""

    digest: str
    dtype: str
    shape: tuple[int, ...]
    base: Tensor


class Header(msgspec.Struct, frozen=True, kw_only=True):
    version: int = VERSION
    codec: str = "zstd"
    tensors: tuple[Difference, ...]


def write_delta(pairs: Sequence[tuple[TensorData, Tensor, TensorData]]) -> bytes:
    """A delta object of tensors, each with the manifest entry and the bytes of its base, in the order of `sort_key`."""
    found = tuple(Difference(new.digest, new.dtype, new.shape, base) for new, base, _ in pairs)
    header = msgspec.json.encode(Header(tensors=found))
    planes = b"".join(
        _turned(b"".join(_xor(new.data, old.data).tobytes() for new, _, old in group), item_bytes)
        for item_bytes, group in _by_item(pairs)
    )
    payload: bytes = _codec().compress(planes, asbytes=True)
    return MAGIC + len(header).to_bytes(8, "little") + header + payload


def sort_key(tensor: TensorData | Difference) -> int:
    """Tensors of one item size stand together in a delta object."""
    return ITEM_BYTES[tensor.dtype]


def read_delta(data: bytes, *, digest: str) -> tuple[Header, list[bytes]]:
    """Header and differences of a delta object; ``DamagedObject`` where the two do not belong together."""
    try:
        size = int.from_bytes(data[8:16], "little")
        header = msgspec.json.decode(data[16 : 16 + size], type=Header)
        if header.version > VERSION:
            raise NewerFormat(f"object {digest} is a delta of version {header.version}: upgrade to read it")
        sizes = [math.prod(part.shape) * ITEM_BYTES[part.dtype] for part in header.tensors]
        payload = memoryview(data)[16 + size :]
        if header.codec != "zstd" or min(sizes) < 0 or sum(sizes) > _MOST_EXPANDED * len(payload):
            raise ValueError(f"{sum(sizes)} bytes in {len(payload)}")
        planes = _codec().decompress(payload, decompressed_size=sum(sizes), asbytes=True)
        return header, list(_parts(header, sizes, planes))
    except (ValueError, LookupError, OSError, msgspec.MsgspecError) as exc:
        raise DamagedObject(f"object {digest} is no readable delta: {exc}") from exc


def _parts(header: Header, sizes: list[int], planes: bytes) -> Iterator[bytes]:
    at, rest = 0, iter(sizes)
    for item_bytes, group in groupby(header.tensors, sort_key):
        own = [next(rest) for _ in group]
        straight = _straight(planes[at : at + sum(own)], item_bytes)
        at, inner = at + sum(own), 0
        for size in own:
            yield straight[inner : inner + size]
            inner += size


def apply(difference: bytes, base: TensorData) -> bytes:
    """The bytes of the tensor that differs so from its base."""
    return _xor(difference, base.data).tobytes()


def estimate(new: TensorData, old: TensorData) -> float:
    """About how large the delta is beside the tensor, from some samples of it."""
    import numpy as np

    item = ITEM_BYTES[new.dtype]
    count = new.size_bytes // item
    starts = np.linspace(0, max(0, count - _SAMPLE_ITEMS), _SAMPLES).astype(int) if count > _SAMPLE_ITEMS else [0]
    spans = [slice(int(start) * item, (int(start) + _SAMPLE_ITEMS) * item) for start in starts]
    sample = b"".join(_xor(new.data[span], old.data[span]).tobytes() for span in spans)
    return len(_codec().compress(_turned(sample, item), asbytes=True)) / max(1, len(sample))


def _by_item(pairs: Sequence[tuple[TensorData, Tensor, TensorData]]) -> Iterator[tuple[int, Any]]:
    return groupby(pairs, lambda pair: sort_key(pair[0]))


def _xor(one: bytes | memoryview, other: bytes | memoryview) -> NDArray[np.uint8]:
    import numpy as np

    return np.bitwise_xor(np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8))


def _turned(data: bytes, item_bytes: int) -> bytes:
    import numpy as np

    return np.frombuffer(data, np.uint8).reshape(-1, item_bytes).T.tobytes()


def _straight(data: bytes, item_bytes: int) -> bytes:
    import numpy as np

    return np.frombuffer(data, np.uint8).reshape(item_bytes, -1).T.tobytes()


def _codec() -> Any:
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=1)
