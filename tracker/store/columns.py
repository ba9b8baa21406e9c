"""From logged values of any kinds to one Arrow column that keeps them exactly (kinds: docs/design/0003)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tracker.store import frames
from tracker.store.arrays import bytes_array, numeric_array

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

EXACT_FLOAT_INT = 1 << 53  # every smaller integer is a float


@dataclass
class Values:
    """Values of one metric or loop: their kinds (of ``frames``), bits, rows, and how to get at heap payloads.

    ``rows`` are distinct; ``heap(i)`` gives the payload of the i-th value, or ``None`` when it is damaged.
    """

    kind: NDArray[np.uint8]
    bits: NDArray[np.int64]
    rows: NDArray[np.int64]
    heap: Callable[[int], bytes | None]


@dataclass
class Column:
    """An Arrow array over all rows, its kind, which rows hold a logged ``None``, and how many values were damaged."""

    array: pa.Array
    kind: str
    none: NDArray[np.bool_] | None = None
    damaged: int = 0


def build_column(values: Values, row_count: int) -> Column:
    """One column of ``row_count`` rows; rows without a value are null."""
    import numpy as np

    none = None
    is_none = values.kind == frames.NONE
    if is_none.any():
        none = np.zeros(row_count, bool)
        none[values.rows[is_none]] = True
        kept = ~is_none
        positions = kept.nonzero()[0]
        heap = values.heap
        values = Values(values.kind[kept], values.bits[kept], values.rows[kept], lambda i: heap(int(positions[i])))
    column = _build_typed(values, row_count)
    column.none = none
    return column


def _build_typed(values: Values, row_count: int) -> Column:
    import numpy as np

    kinds = set(np.unique(values.kind).tolist())
    if not kinds:
        return Column(numeric_array(np.zeros(row_count, np.float32), np.ones(row_count, bool)), "float")
    if kinds == {frames.FLOAT}:
        return Column(_float_array(values.bits.view(np.float64), values.rows, row_count), "float")
    if kinds == {frames.INT}:
        return Column(_array(values.bits, values.rows, row_count), "int")
    if kinds == {frames.BOOL}:
        return Column(_array(values.bits != 0, values.rows, row_count), "bool")
    if kinds == {frames.INT, frames.FLOAT} and _ints_are_floats(values):
        floats = np.where(values.kind == frames.INT, values.bits.astype(np.float64), values.bits.view(np.float64))
        return Column(_float_array(floats, values.rows, row_count), "float")
    return _build_objects(values, kinds, row_count)


def _ints_are_floats(values: Values) -> bool:
    ints = values.bits[values.kind == frames.INT]
    return bool(((ints <= EXACT_FLOAT_INT) & (ints >= -EXACT_FLOAT_INT)).all())


def _float_array(data: NDArray[np.float64], rows: NDArray[np.int64], row_count: int) -> pa.Array:
    """float32 when that loses nothing, which halves the bytes on disk."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        narrow = data.astype(np.float32)
        exact = bool(((narrow == data) | np.isnan(data)).all())
    return _array(narrow if exact else data, rows, row_count)


def _array(data: NDArray[Any], rows: NDArray[np.int64], row_count: int) -> pa.Array:
    import numpy as np

    if len(rows) == row_count and bool((rows[1:] > rows[:-1]).all()):  # every row has its value, in order
        return numeric_array(data)
    full = np.zeros(row_count, data.dtype)
    full[rows] = data
    missing = np.ones(row_count, bool)
    missing[rows] = False
    return numeric_array(full, missing)


def _build_objects(values: Values, kinds: set[int], row_count: int) -> Column:
    """Texts, bytes, large integers, nested data and mixtures, one Python object a value."""
    import pyarrow as pa

    if kinds == {frames.TEXT}:
        kind, arrow_type, encode = "str", pa.string(), _to_utf8
    elif kinds == {frames.BYTES}:
        kind, arrow_type, encode = "bytes", pa.binary(), _identity
    elif kinds <= {frames.BIGINT, frames.INT}:
        kind, arrow_type, encode = "bigint", pa.string(), _to_digits
    else:
        kind, arrow_type, encode = "json", pa.string(), _to_json_bytes
    cells: list[bytes | None] = [None] * row_count
    damaged = 0
    for i, row in enumerate(values.rows.tolist()):
        value = decode_value(int(values.kind[i]), int(values.bits[i]), partial(values.heap, i))
        if value is DAMAGED:
            damaged += 1
        else:
            cells[row] = encode(value)
    return Column(bytes_array(cells, arrow_type), kind, damaged=damaged)


DAMAGED = object()


def decode_value(kind: int, bits: int, heap: Callable[[], bytes | None]) -> Any:
    """The Python value of a frame, or ``DAMAGED``."""
    if kind == frames.FLOAT:
        return frames.SLOT_FLOAT.unpack(frames.SLOT_INT.pack(bits, 0, 0, 0))[0]
    if kind == frames.INT:
        return bits
    if kind == frames.BOOL:
        return bits != 0
    if kind == frames.NONE:
        return None
    payload = heap()
    if payload is None:
        return DAMAGED
    if kind == frames.BYTES:
        return payload
    text = payload.decode("utf-8", "surrogatepass")
    if kind == frames.TEXT:
        return text
    return int(text) if kind == frames.BIGINT else from_json(text)


def _to_utf8(value: Any) -> bytes:
    # Parquet texts are UTF-8; a lone surrogate (from os.fsdecode, say) cannot be written and is shown as an escape.
    return str(value).encode("utf-8", "backslashreplace")


def _identity(value: Any) -> Any:
    return value


def _to_digits(value: Any) -> bytes:
    return str(value).encode()


def _to_json_bytes(value: Any) -> bytes:
    return to_json(value).encode()


def to_json(value: Any) -> str:
    """JSON with NaN and infinities as Python's json writes them, and bytes as ``{"$bytes": base64}``.

    A dict that looks like that itself, its only key beginning with ``$``, gets a further ``$`` there.
    """
    return json.dumps(_marked(value), ensure_ascii=True, separators=(",", ":"))


def from_json(text: str) -> Any:
    """The inverse of ``to_json``; ``ValueError`` as of ``read_json``."""
    return read_json(text, object_hook=_unmarked)


def read_json(text: str | bytes, *, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """``json.loads`` of what somebody else wrote: also a text that nests without end is a ``ValueError``."""
    try:
        return json.loads(text, object_hook=object_hook)
    except RecursionError as exc:
        raise ValueError("it nests too deeply") from exc


def _marked(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_marked(item) for item in value]
    if isinstance(value, dict):
        mark = "$" if len(value) == 1 and next(iter(value)).startswith("$") else ""
        return {mark + key: _marked(item) for key, item in value.items()}
    return value


def _unmarked(value: dict[str, Any]) -> Any:
    if len(value) != 1:
        return value
    key, item = next(iter(value.items()))
    if key == "$bytes" and isinstance(item, str):
        return base64.b64decode(item)
    return {key[1:]: item} if key.startswith("$$") else value


def cell_decoder(kind: str) -> Callable[[Any], Any] | None:
    """How a stored cell of an object column becomes the logged value; ``None`` where it already is."""
    decoders: dict[str, Callable[[Any], Any]] = {"bigint": int, "json": from_json}
    return decoders.get(kind)
