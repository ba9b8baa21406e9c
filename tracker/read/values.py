"""Columns of logged values: their kinds, how kinds widen without losing a bit, and their form in Python and pandas."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracker.store.columns import cell_decoder, to_json

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

REPEATED = 1 << 16  # rows of one value per chunk; all chunks are the same memory, however many rows there are

Kind = str
"""``float``, ``int``, ``bool``, ``str``, ``bytes``, ``bigint`` or ``json`` (docs/design/0003), or ``time``."""


@dataclass(frozen=True, eq=False)
class Column:
    """Values of one kind, null where there is none; ``none`` marks the rows where ``None`` was logged."""

    kind: Kind
    data: pa.ChunkedArray
    none: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.data)

    def present(self) -> NDArray[np.bool_] | None:
        """Which rows hold a value, ``None`` included; ``None`` instead of an array when all do."""
        if self.data.null_count == 0:
            return None
        valid: NDArray[np.bool_] = self.data.is_valid().to_numpy()
        return valid if self.none is None else valid | self.none

    def take(self, rows: NDArray[np.int64]) -> Column:
        """The values at these rows; a negative row gives a missing value."""
        import pyarrow as pa

        absent = rows < 0
        any_absent = bool(absent.any())
        indices = pa.array(rows, mask=absent) if any_absent else pa.array(rows)
        none = None
        if self.none is not None:
            none = self.none[rows]
            none[absent] = False
        return column(self.kind, self.data.combine_chunks().take(indices), none)

    def python(self) -> list[Any]:
        """The logged values; ``None`` both where ``None`` was logged and where nothing was."""
        cells: list[Any] = self.data.to_pylist()
        decode = cell_decoder(self.kind)
        return cells if decode is None else [None if cell is None else decode(cell) for cell in cells]

    def arrow(self) -> pa.ChunkedArray:
        """The values for Arrow: large integers as digits and nested or mixed values as JSON."""
        import pyarrow as pa

        return self.data.cast(pa.float64()) if self.kind == "float" else self.data


def column(kind: Kind, data: pa.Array | pa.ChunkedArray, none: NDArray[np.bool_] | None = None) -> Column:
    """A column of an array, chunked or not."""
    import pyarrow as pa

    return Column(kind, data if isinstance(data, pa.ChunkedArray) else pa.chunked_array([data]), none)


def missing(length: int) -> Column:
    """A column without any value."""
    import pyarrow as pa

    return column("float", pa.nulls(length, pa.float64()))


def constant(value: Any, length: int) -> Column:
    """The same Python value in every row; ``None`` gives missing values."""
    return missing(length) if value is None else repeat(from_python([value]), length)


def repeat(single: Column, length: int) -> Column:
    """The one value of a column in every row."""
    import numpy as np
    import pyarrow as pa

    chunk = pa.repeat(single.data[0], min(length, REPEATED))
    chunks = [chunk] * (length // REPEATED) + [chunk.slice(0, length % REPEATED)]
    none = None if single.none is None else np.full(length, bool(single.none[0]))
    return Column(single.kind, pa.chunked_array(chunks, single.data.type), none)


def from_python(values: Sequence[Any], *, absent: Collection[int] = ()) -> Column:
    """A column of Python values of any kinds; ``absent`` are positions where ``None`` means that there is no value."""
    import numpy as np
    import pyarrow as pa

    none = np.array([value is None and i not in absent for i, value in enumerate(values)], bool)
    kind = unify({_kind_of(value) for value in values if value is not None})
    if kind == "float" and not all(_is_exact_float(value) for value in values):
        kind = "json"
    encoders: dict[Kind, Callable[[Any], Any]] = {"bigint": str, "json": to_json, "float": float}
    encode = encoders.get(kind, lambda value: value)
    cells = [None if value is None else encode(value) for value in values]
    return column(kind, pa.array(cells, _arrow_type(kind)), none if none.any() else None)


def _kind_of(value: Any) -> Kind:
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if -(1 << 63) <= value < 1 << 63 else "bigint"
    plain: dict[type, Kind] = {bool: "bool", float: "float", str: "str", bytes: "bytes"}
    return plain.get(type(value), "json")


def _is_exact_float(value: Any) -> bool:
    return not isinstance(value, int) or abs(value) <= 1 << 53


def _arrow_type(kind: Kind) -> pa.DataType:
    import pyarrow as pa

    types = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "bytes": pa.binary()}
    return types.get(kind, pa.string())


def unify(kinds: Collection[Kind]) -> Kind:
    """The narrowest kind that holds all these kinds exactly (integers beside floats need a look at the data)."""
    found = set(kinds)
    if len(found) <= 1:
        return next(iter(found), "float")
    if found == {"int", "float"}:
        return "float"
    return "bigint" if found == {"int", "bigint"} else "json"


def concatenate(columns: Sequence[Column]) -> Column:
    """The columns below one another, widened to a kind that holds all of them exactly."""
    import numpy as np
    import pyarrow as pa

    if len(columns) == 1:
        return columns[0]
    filled = [part for part in columns if part.data.null_count < len(part)]
    kind = unify({part.kind for part in filled})
    if kind == "float" and any(part.kind == "int" for part in filled):
        kind = "float" if all(_ints_are_floats(part) for part in filled if part.kind == "int") else "json"
    arrow_type = _common_type(kind, filled)
    chunks: list[pa.Array] = []
    for part in columns:
        if part.data.null_count == len(part):
            chunks.append(pa.nulls(len(part), arrow_type))
        else:
            data = widen(part, kind).data
            chunks += (data if data.type == arrow_type else data.cast(arrow_type)).chunks
    none = None
    if any(part.none is not None for part in columns):
        none = np.concatenate([np.zeros(len(part), bool) if part.none is None else part.none for part in columns])
    return Column(kind, pa.chunked_array(chunks, arrow_type), none)


def _common_type(kind: Kind, parts: Sequence[Column]) -> pa.DataType:
    """float32 stays as it is while all parts have it, so that it is widened once, at the end."""
    types = {part.data.type for part in parts}
    return types.pop() if len(types) == 1 and {part.kind for part in parts} == {kind} else _arrow_type(kind)


def _ints_are_floats(part: Column) -> bool:
    import pyarrow.compute as pc

    bounds = pc.min_max(part.data).as_py()
    return bool(bounds["min"] >= -(1 << 53) and bounds["max"] <= 1 << 53)


def widen(part: Column, kind: Kind) -> Column:
    """The same values as another kind, which must be able to hold them."""
    import pyarrow as pa

    if part.kind == kind:
        return part
    if kind == "float":
        return Column(kind, part.data.cast(pa.float64()), part.none)
    if kind == "bigint":
        return Column(kind, part.data.cast(pa.string()), part.none)
    cells = [None if value is None else to_json(value) for value in Column(part.kind, part.arrow(), part.none).python()]
    return column("json", pa.array(cells, pa.string()), part.none)


def fill(own: Column, other: Column) -> Column:
    """The first column's values, and the second's where the first has none."""
    import pyarrow.compute as pc

    present = own.present()
    if present is None:
        return own
    both = concatenate([own, other])
    first, second = both.data.slice(0, len(own)), both.data.slice(len(own))
    none = None
    if both.none is not None:
        none = (both.none[: len(own)]) | (~present & both.none[len(own) :])
    data = pc.if_else(present, first.combine_chunks(), second.combine_chunks())
    return column(both.kind, data, none)


def to_pandas(part: Column) -> Any:
    """The pandas or NumPy array of a column: float64, Int64, boolean, text, UTC times, else Python objects."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if part.kind == "float":
        return _gathered(part.data, np.float64)
    if part.kind == "int":
        return _integers(part.data)
    if part.kind == "bool":
        dtype: Any = pd.BooleanDtype()
        return dtype.__from_arrow__(part.data)
    if part.kind == "str":
        return text_dtype().__from_arrow__(part.data)
    if part.kind == "time":
        return pd.DatetimeIndex(part.data.cast(pa.timestamp("us")).to_numpy()).tz_localize("UTC").array
    objects = np.empty(len(part), object)
    objects[:] = part.python()
    return objects


def _integers(data: pa.ChunkedArray) -> Any:
    import numpy as np
    import pandas as pd

    if data.null_count == 0:
        return pd.arrays.IntegerArray(_gathered(data, np.int64), np.zeros(len(data), bool))
    return pd.arrays.IntegerArray(_gathered(data.fill_null(0), np.int64), data.is_null().to_numpy())


def _gathered(data: pa.ChunkedArray, dtype: Any) -> NDArray[Any]:
    """The chunks in one new array, converted while they are copied: memory is touched once, and may be written to."""
    import numpy as np

    gathered = np.empty(len(data), dtype)
    begin = 0
    for chunk in data.chunks:
        gathered[begin : begin + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        begin += len(chunk)
    return gathered


def text_dtype() -> Any:
    """What this pandas calls text: ``str`` from version 3, ``string`` before."""
    import pandas as pd

    if int(pd.__version__.split(".")[0]) < 3:
        return pd.StringDtype("pyarrow")
    return pd.StringDtype("pyarrow", na_value=float("nan"))


def guess(data: pa.ChunkedArray) -> Column:
    """A column of any Arrow array, such as a query gives."""
    import pyarrow as pa

    found = data.type
    if pa.types.is_floating(found) or pa.types.is_null(found) or pa.types.is_decimal(found):
        return Column("float", data.cast(pa.float64()))
    if pa.types.is_integer(found) and not pa.types.is_uint64(found):
        return Column("int", data.cast(pa.int64()))
    if pa.types.is_boolean(found):
        return Column("bool", data)
    if pa.types.is_string(found) or pa.types.is_large_string(found):
        return Column("str", data)
    if pa.types.is_timestamp(found) and found.tz is not None:
        return Column("time", data)
    return Column("object", data)
