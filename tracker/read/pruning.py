"""Leaving out segments whose statistics say that no row of theirs can pass the filters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tracker.read.layout import Level
from tracker.read.sections import loop_columns
from tracker.read.source import Part

WORTH_A_LOOK = 5_000  # frames; a smaller segment is read sooner than its statistics are looked up
_TYPES: dict[str, tuple[type, ...]] = {"int": (int, float), "float": (int, float), "str": (str,)}


def prune(parts: Sequence[Part], wanted: Mapping[str, Any]) -> list[Part]:
    """The parts that may hold records with the wanted loop values.

    Only whole contexts are left out, so the rule for repeated values is not touched. With several attempts all parts
    stay, because they say where an attempt began.
    """
    if not wanted or len({part.piece.key.attempt for part in parts if part.layout.replay is None}) > 1:
        return list(parts)
    return [part for part in parts if _may_hold(part, wanted)]


def _may_hold(part: Part, wanted: Mapping[str, Any]) -> bool:
    key = part.piece.key
    if not part.piece.sources or key.last - key.first < WORTH_A_LOOK:
        return True
    levels = dict(zip(loop_columns(part.layout.loops), part.layout.levels, strict=True))
    tested = {name: _values(wanted[name]) for name in wanted if name in levels}
    return all(values is None or _overlaps(part, levels[name], values) for name, values in tested.items())


def _values(wanted: Any) -> Collection[Any] | None:
    """The values that a filter lists; ``None`` where it is a function, or asks for records without the key."""
    if wanted is None or callable(wanted):
        return None
    if isinstance(wanted, Collection) and not isinstance(wanted, str | bytes | Mapping):
        return wanted
    return [wanted]


def _overlaps(part: Part, level: Level, values: Collection[Any]) -> bool:
    types = _TYPES.get(level.kind)
    bounds = None if types is None else _bounds(part, level.column)
    if types is None or bounds is None:
        return True
    low, high = bounds
    if isinstance(values, range):
        return (
            bool(values)
            and level.kind != "str"
            and low <= max(values[0], values[-1])
            and high >= min(values[0], values[-1])
        )
    return any(isinstance(value, types) and not isinstance(value, bool) and low <= value <= high for value in values)


def _bounds(part: Part, column: str) -> tuple[Any, Any] | None:
    """The least and the greatest value of a column, from the statistics of all its row groups."""
    import pyarrow.parquet as pq

    source = part.piece.sources[0]
    path = part.piece.store.local_path(source)
    with pq.ParquetFile(part.piece.store.open(source) if path is None else path) as file:
        number = file.schema_arrow.names.index(column)
        groups = [file.metadata.row_group(i).column(number).statistics for i in range(file.metadata.num_row_groups)]
    if not groups or any(found is None or not found.has_min_max for found in groups):
        return None
    return min(found.min for found in groups), max(found.max for found in groups)
