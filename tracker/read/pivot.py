"""Pivots: records by index keys and column keys, under the same rule for repeated values as everything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tracker.errors import InputError
from tracker.read.contexts import codes, group
from tracker.read.records import VALUE, Records
from tracker.read.values import Column, concatenate, missing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Formatter = Callable[[tuple[Any, ...]], str]


class Pivot(NamedTuple):
    """Index tuples (one a row), column tuples, and the values: float64 with NaN where there is none, else objects."""

    index_tuples: list[tuple[Any, ...]]
    column_tuples: list[tuple[Any, ...]]
    values_array: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Layout:
    """A pivot with typed columns: index keys by name, and one column of values for each column tuple."""

    index: dict[str, Column]
    column_keys: tuple[str, ...]
    column_tuples: list[tuple[Any, ...]]
    values: list[Column]
    length: int


def lay_out(records: Records, index: Sequence[str], columns: Sequence[str]) -> Layout:
    """The n-th value of a cell stands in the n-th row of its index; index and columns by first appearance.

    A record without one of the index keys stands in a row where that key is missing; nothing is dropped.
    """
    import numpy as np

    index_columns = {name: records.key(name) for name in index}
    column_columns = {name: records.key(name) for name in columns}
    count = len(records)
    row_group, row_count = _numbers(list(index_columns.values()), count)
    column_group, column_count = _numbers(list(column_columns.values()), count)
    nth = _nth(row_group * max(column_count, 1) + column_group)
    rows_of = np.zeros(row_count, np.int64)
    np.maximum.at(rows_of, row_group, nth + 1)
    offsets = np.cumsum(rows_of) - rows_of
    length = int(rows_of.sum())
    row = offsets[row_group] + nth

    found = []
    for values, own in _by_column(records, column_group, column_count):
        cells = np.full(length, -1, np.int64)
        cells[row[own]] = np.arange(len(own))
        found.append(values.take(cells))
    first_row = np.repeat(_first(row_group, row_count), rows_of)
    first_column = _first(column_group, column_count)
    tuples = list(zip(*(values.take(first_column).python() for values in column_columns.values()), strict=True))
    return Layout(
        {name: values.take(first_row) for name, values in index_columns.items()},
        tuple(columns),
        tuples if columns else [()] * column_count,
        found,
        length,
    )


def _numbers(keys: Sequence[Column], count: int) -> tuple[NDArray[np.int64], int]:
    import numpy as np

    groups = group([codes(values) for values in keys], count)
    return (np.arange(count) if groups.of_row is None else groups.of_row), groups.count


def _nth(cell: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many earlier records stand in the same cell."""
    import numpy as np

    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    starts = np.concatenate([np.ones(min(1, len(cell)), bool), ordered[1:] != ordered[:-1]])
    places = np.arange(len(cell))
    nth = np.empty(len(cell), np.int64)
    nth[order] = places - np.maximum.accumulate(np.where(starts, places, 0)) if len(cell) else places
    return nth


def _first(groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    import numpy as np

    first = np.zeros(count, np.int64)
    first[groups[::-1]] = np.arange(len(groups))[::-1]
    return first


def _by_column(records: Records, column_group: NDArray[np.int64], count: int) -> list[tuple[Column, NDArray[np.int64]]]:
    """For every column its values, of the narrowest kind that holds them, and the records that they come from."""
    import numpy as np

    parts: list[list[Column]] = [[] for _ in range(count)]
    owners: list[list[NDArray[np.int64]]] = [[] for _ in range(count)]
    begin = 0
    for block in records.blocks:
        for one, positions in zip(block.series, block.positions(), strict=True):
            groups = column_group[positions + begin]
            for number in np.unique(groups).tolist():
                own = np.flatnonzero(groups == number)
                parts[number].append(one.values if len(own) == len(groups) else one.values.take(own))
                owners[number].append(positions[own] + begin)
        begin += len(block)
    if not begin:
        return [(missing(0), np.zeros(0, np.int64))] * count
    return [(concatenate(own), np.concatenate(numbers)) for own, numbers in zip(parts, owners, strict=True)]


def pivot(layout: Layout) -> Pivot:
    """The plain form."""
    import numpy as np

    numeric = all(values.kind in {"float", "int"} and not _too_large(values) for values in layout.values)
    array = np.full((layout.length, len(layout.values)), np.nan, np.float64 if numeric else object)
    for number, values in enumerate(layout.values):
        present = values.present()
        rows = np.arange(layout.length) if present is None else np.flatnonzero(present)
        cells = values.take(rows).python()
        array[rows, number] = [np.nan if cell is None else cell for cell in cells] if numeric else _objects(cells)
    names = [values.python() for values in layout.index.values()]
    index = list(zip(*names, strict=True)) if names else [()] * layout.length
    return Pivot(index, layout.column_tuples, array)


def _objects(cells: list[Any]) -> NDArray[Any]:
    import numpy as np

    array = np.empty(len(cells), object)
    array[:] = cells
    return array


def _too_large(values: Column) -> bool:
    import pyarrow.compute as pc

    if values.kind != "int" or values.data.null_count == len(values):
        return False
    bounds = pc.min_max(values.data).as_py()
    return bool(bounds["min"] < -(1 << 53) or bounds["max"] > 1 << 53)


def flat_columns(layout: Layout, formatter: Formatter | None) -> dict[str, Column]:
    """Index keys and values under text names, for tables that have no nested columns; equal names are numbered."""
    found = dict(layout.index)
    for keys, values in zip(layout.column_tuples, layout.values, strict=True):
        name = str((formatter or _joined)(keys))
        unique, number = name, 2
        while unique in found:
            unique, number = f"{name}.{number}", number + 1
        found[unique] = values
    return found


def _joined(keys: tuple[Any, ...]) -> str:
    return "_".join(str(key) for key in keys) or VALUE


def to_pandas(layout: Layout, formatter: Formatter | None) -> pd.DataFrame:
    """Index keys as the index, column tuples as nested columns, or as texts by the formatter."""
    import pandas as pd

    from tracker.read import values

    data = dict(enumerate(values.to_pandas(column) for column in layout.values))
    frame = pd.DataFrame(data, index=range(layout.length), copy=False)
    arrays = [pd.Index(values.to_pandas(column), name=name) for name, column in layout.index.items()]
    if len(arrays) == 1:
        frame.index = arrays[0]
    elif arrays:
        frame.index = pd.MultiIndex.from_arrays(arrays, names=list(layout.index))
    if formatter is not None:
        frame.columns = pd.Index([str(formatter(keys)) for keys in layout.column_tuples])
    elif len(layout.column_keys) == 1:
        frame.columns = pd.Index([keys[0] for keys in layout.column_tuples], name=layout.column_keys[0])
    elif layout.column_keys and layout.column_tuples:
        frame.columns = pd.MultiIndex.from_tuples(layout.column_tuples, names=list(layout.column_keys))
    return frame


def check_keys(records: Records, index: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse keys that stand in both places, and texts where lists of keys are meant."""
    for given, what in ((index, "index"), (columns, "columns")):
        if isinstance(given, str):
            raise InputError(f"{what}={given!r}: expected a list of keys, such as [{given!r}]")
    both = set(index) & set(columns)
    if both:
        raise InputError(f"{sorted(both)[0]!r} is both an index key and a column key; name it once")
