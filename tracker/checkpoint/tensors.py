"""Arrays on their way between a program and the store: a dtype, a shape and bytes of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from tracker.errors import DamagedDocument, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""The dtypes that are stored, by the names of safetensors; anything else travels as U8 with its dtype in the tree."""

_FROM_NUMPY = {
    "|b1": "BOOL", "|u1": "U8", "|i1": "I8", "<u2": "U16", "<i2": "I16", "<f2": "F16", "<u4": "U32", "<i4": "I32",
    "<f4": "F32", "<u8": "U64", "<i8": "I64", "<f8": "F64",
}  # fmt: skip
_TO_NUMPY = {name: code for code, name in _FROM_NUMPY.items()}


@dataclass(frozen=True)
class TensorData:
    """An array as it is stored: ``data`` holds its items in C order, little-endian, and is never changed."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview | bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    @cached_property
    def digest(self) -> str:
        """BLAKE3 hash of dtype, shape and bytes."""
        hasher = blake3(f"{self.dtype} {list(self.shape)}\n".encode())
        hasher.update(self.data)
        return hasher.hexdigest()


def check(data: TensorData) -> TensorData:
    """The tensor, when its dtype is known and its bytes fill its shape; else ``DamagedDocument``."""
    item = ITEM_BYTES.get(data.dtype)
    if item is None or any(size < 0 for size in data.shape) or math.prod(data.shape) * item != len(data.data):
        raise DamagedDocument(f"a tensor {data.dtype}{list(data.shape)} cannot have {len(data.data):,} bytes")
    return data


def from_bytes(data: bytes, dtype: str = "U8") -> TensorData:
    """Bytes as a tensor with one dimension."""
    return TensorData(dtype, (len(data) // ITEM_BYTES[dtype],), data)


def memory_order(strides: tuple[int, ...], shape: tuple[int, ...]) -> list[int] | None:
    """The axes in the order in which memory runs through them; ``None`` when that is C order.

    A sum over an array adds in this order, so a restored array must have it, too, to give the same last bits.
    """
    if 0 in shape:
        return None
    axes = sorted(range(len(shape)), key=lambda axis: (-abs(strides[axis]), axis))
    in_order = [axis for axis in axes if shape[axis] > 1]
    return None if in_order == sorted(in_order) else axes


def from_numpy(array: NDArray[Any]) -> tuple[TensorData, dict[str, Any]]:
    """A copy of an array, and what else must be known to build it again (nothing for an ordinary one).

    ``ValueError`` for dtypes whose items are pointers.
    """
    import numpy as np

    about: dict[str, Any] = {}
    if axes := memory_order(array.strides, array.shape):
        about["axes"], array = axes, array.transpose(axes)
    copy = np.array(array, order="C", copy=True, subok=False)
    if name := _FROM_NUMPY.get(copy.dtype.str if not copy.dtype.metadata else ""):
        return TensorData(name, copy.shape, _view(copy)), about
    about |= {"dtype": dtype_text(copy.dtype), "shape": list(copy.shape)}
    return from_raw(copy), about


def from_raw(copy: NDArray[Any]) -> TensorData:
    """The bytes of a contiguous array."""
    data = _view(copy)
    return TensorData("U8", (len(data),), data)


def to_numpy(data: TensorData, about: dict[str, Any]) -> NDArray[Any]:
    """A new, writable array; ``about`` is what `from_numpy` returned, read back from a store."""
    import numpy as np

    if data.dtype not in _TO_NUMPY or str(about.get("torch", "")).startswith("complex"):
        raise MissingExtra(
            f"NumPy has no dtype {about.get('torch', data.dtype)}: pip install 'hindsight-tracker[torch]'"
        )
    if "dtype" in about:
        dtype, shape = dtype_from_text(about["dtype"]), [int(size) for size in about["shape"]]
        array = np.frombuffer(data.data, dtype).reshape(shape) if len(data.data) else _empty(shape, dtype)
    else:
        array = as_array(data)
    array = array.copy()
    return array.transpose(np.argsort(about["axes"])) if "axes" in about else array


def as_array(data: TensorData) -> NDArray[Any]:
    """The tensor's own bytes as a NumPy array, not copied; those of dtypes that NumPy lacks as unsigned integers."""
    import numpy as np

    code = _TO_NUMPY.get(data.dtype, f"<u{ITEM_BYTES[data.dtype]}")
    return np.frombuffer(data.data, code).reshape(data.shape) if len(data.data) else np.zeros(data.shape, code)


def _empty(shape: list[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array without any byte: no item, or items of size 0."""
    import numpy as np

    if math.prod(shape) * dtype.itemsize:
        raise ValueError(f"no bytes for an array {shape} of {dtype}")
    return np.zeros(shape if dtype.itemsize or math.prod(shape) < 1 << 20 else 0, dtype)


def dtype_text(dtype: np.dtype[Any]) -> str:
    """A dtype as a Python literal; ``ValueError`` where its items are no plain bytes."""
    import numpy as np

    descr = np.lib.format.dtype_to_descr(dtype) if _is_plain(dtype) else None
    if descr is None or dtype_from_text(repr(descr)) != dtype:
        raise ValueError(f"items of {dtype} are not plain bytes")
    return repr(descr)


def dtype_from_text(text: str) -> np.dtype[Any]:
    """The dtype behind `dtype_text`; ``ValueError`` for anything whose items are no plain bytes."""
    import ast

    import numpy as np

    dtype = np.lib.format.descr_to_dtype(ast.literal_eval(text))
    if not _is_plain(dtype):
        raise ValueError(f"items of {dtype} are not plain bytes")
    return dtype


def _is_plain(dtype: np.dtype[Any]) -> bool:
    if dtype.subdtype:
        return _is_plain(dtype.subdtype[0])
    if dtype.fields:
        return all(_is_plain(field[0]) for field in dtype.fields.values())
    return dtype.kind in "biufcmMSUV" and not dtype.hasobject


def _view(array: NDArray[Any]) -> memoryview:
    import numpy as np

    return array.reshape(-1).view(np.uint8).data.toreadonly() if array.nbytes else memoryview(b"")
