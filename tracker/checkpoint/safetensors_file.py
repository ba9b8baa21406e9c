"""Files in the format of safetensors: the length of a JSON header, the header, and the bytes of the tensors.

Written and read here because the library's own functions for bytes differ between its versions; tests read our files
with the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tracker.checkpoint.tensors import TensorData, check
from tracker.errors import DamagedObject

_ALIGNMENT = 8


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def write_file(tensors: Mapping[str, TensorData]) -> bytes:
    """A file with these tensors; the same ones under the same names give the same bytes."""
    header: dict[str, Any] = {}
    offset = 0
    for name, tensor in tensors.items():
        header[name] = _Entry(tensor.dtype, tensor.shape, (offset, offset + tensor.size_bytes))
        offset += tensor.size_bytes
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *(tensor.data for tensor in tensors.values())])


def read_file(data: bytes, *, digest: str) -> dict[str, TensorData]:
    """The tensors of a file by name, as views of its bytes; ``DamagedObject`` for anything that is no such file."""
    try:
        size = int.from_bytes(data[:8], "little")
        header = msgspec.json.decode(data[8 : 8 + size], type=dict[str, Any])
        header.pop("__metadata__", None)
        body = memoryview(data)[8 + size :]
        entries = {name: msgspec.convert(entry, _Entry) for name, entry in header.items()}
        return {name: _tensor(entry, body) for name, entry in entries.items()}
    except (ValueError, msgspec.MsgspecError, LookupError) as exc:
        raise DamagedObject(f"object {digest} is no readable safetensors file: {exc}") from exc


def _tensor(entry: _Entry, body: memoryview) -> TensorData:
    first, last = entry.data_offsets
    if not 0 <= first <= last <= len(body):
        raise ValueError(f"bytes {first} to {last} of {len(body)}")
    return check(TensorData(entry.dtype, entry.shape, body[first:last]))
