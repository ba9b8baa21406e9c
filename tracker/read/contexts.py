"""Contexts as numbers: which rows belong to the same context, and how contexts follow one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tracker.read.values import Column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Level:
    """One loop of a path over all rows: iterated values, and their indices where they are something else."""

    name: str
    values: Column
    index: NDArray[np.int64]
    index_is_value: bool

    def codes(self) -> list[NDArray[np.int64]]:
        """Numbers that are equal exactly where value and index are."""
        return [self.index] if self.index_is_value else [self.index, codes(self.values)]


@dataclass(frozen=True, eq=False)
class Contexts:
    """The contexts of many rows of one loop path, row by row."""

    levels: list[Level]
    steps: dict[str, Column] = field(default_factory=dict)

    def codes(self) -> list[NDArray[np.int64]]:
        """Columns of numbers; two rows have the same context where all of them are equal."""
        found = [code for level in self.levels for code in level.codes()]
        return found + [codes(step) for step in self.steps.values()]

    def take(self, rows: NDArray[np.int64]) -> Contexts:
        """The contexts of these rows."""
        levels = [
            Level(level.name, level.values.take(rows), level.index[rows], level.index_is_value) for level in self.levels
        ]
        return Contexts(levels, {key: step.take(rows) for key, step in self.steps.items()})


def codes(values: Column) -> NDArray[np.int64]:
    """Numbers that are equal exactly where the values are; NaN equals NaN, and missing is a value of its own."""
    import numpy as np
    import pyarrow as pa

    if values.kind == "int" and values.data.null_count == 0:
        whole: NDArray[np.int64] = values.data.to_numpy()
        return whole
    encoded = values.arrow().combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    numbers: NDArray[Any] = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return numbers.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Groups:
    """Which context every row has, numbered by first appearance; ``of_row`` is ``None`` when all differ."""

    of_row: NDArray[np.int64] | None
    count: int


def group(columns: Sequence[NDArray[np.int64]], length: int) -> Groups:
    """Number the distinct combinations. Rows that ascend, as those of one shard do, need no look-up at all."""
    import numpy as np

    if length == 0:
        return Groups(None, 0)
    if not columns:
        return Groups(np.zeros(length, np.int64) if length > 1 else None, 1)
    changed, ascending = compare_neighbours(columns)
    if ascending and changed.all():
        return Groups(None, length)
    numbers = np.concatenate([np.zeros(1, np.int64), np.cumsum(changed)]) if ascending else _combine(columns)
    count = int(numbers.max()) + 1
    return Groups(None if count == length else numbers, count)


def compare_neighbours(columns: Sequence[NDArray[Any]]) -> tuple[NDArray[np.bool_], bool]:
    """Where a row differs from the one before it, and whether no row is lexicographically below the one before it."""
    import numpy as np

    tied = np.ones(max(len(columns[0]) - 1, 0), bool)
    ascending = True
    for column in columns:
        earlier, later = column[:-1], column[1:]
        ascending = ascending and not bool((tied & (later < earlier)).any())
        tied &= later == earlier
    return ~tied, ascending


def _combine(columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    import numpy as np

    numbers = _dense(columns[0])
    for column in columns[1:]:
        extra = _dense(column)
        numbers = _dense(numbers * (int(extra.max()) + 1) + extra)
    return numbers.astype(np.int64)


def _dense(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same partition in the numbers 0, 1, 2 … by first appearance. Their products stay below 2**63 for 3e9 rows."""
    import numpy as np
    import pyarrow as pa

    indices: NDArray[Any] = pa.array(numbers).dictionary_encode().indices.to_numpy()
    return indices.astype(np.int64)


def order_columns(levels: Sequence[Level], attempt: NDArray[np.int64] | None = None) -> list[NDArray[Any]]:
    """For each loop, numbers that grow in the direction in which the loop went.

    The iterated values where they are numbers that only grow with the index, or that only fall (then inverted), within
    each attempt; else the index. A resumed ``range(3, 10)`` begins with index 0 and still belongs behind value 2.
    """
    return [_order(level, attempt) for level in levels]


def _order(level: Level, attempt: NDArray[np.int64] | None) -> NDArray[Any]:
    import numpy as np

    if level.index_is_value or level.values.kind not in {"int", "float"} or level.values.data.null_count:
        return level.index
    values: NDArray[Any] = level.values.data.to_numpy()
    owner = np.zeros(len(values), np.int64) if attempt is None else attempt
    order = np.lexsort((values, level.index, owner))
    same = owner[order][1:] == owner[order][:-1]
    later_index = level.index[order][1:] != level.index[order][:-1]
    earlier, later = values[order][:-1], values[order][1:]
    if bool((same & ~later_index & (later != earlier)).any()):
        return level.index
    if not bool((same & later_index & ~(later > earlier)).any()):
        return values
    if not bool((same & later_index & ~(later < earlier)).any()):
        return ~values if values.dtype == np.int64 else -values
    return level.index
