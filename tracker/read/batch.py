"""All that was logged under one loop path of a run, piece below piece, before the rule for repeated values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracker.read.contexts import Contexts, Level
from tracker.read.layout import Layout, Metric
from tracker.read.source import Part, read_parts
from tracker.read.values import Column, column, concatenate, missing
from tracker.store.base import Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of many parts: contexts, metrics, times, and for every row the number of its part."""

    parts: list[Part]
    owner: NDArray[np.int32]
    contexts: Contexts
    metrics: dict[Metric, Column]
    time: Column | None

    def __len__(self) -> int:
        return len(self.owner)

    def of_parts(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """For every row the number that its part has in ``numbers``."""
        import numpy as np

        if len(set(numbers)) == 1:
            return np.full(len(self), numbers[0], np.int64) if numbers[0] else np.zeros(len(self), np.int64)
        return np.asarray(numbers, np.int64)[self.owner]

    def numbered(self, key: Callable[[Part], Any]) -> tuple[NDArray[np.int64], list[Any]]:
        """For every row the position of its part's key among the distinct keys, and these, in part order."""
        distinct = list(dict.fromkeys(key(part) for part in self.parts))
        return self.of_parts([distinct.index(key(part)) for part in self.parts]), distinct

    def take(self, rows: NDArray[np.int64]) -> Batch:
        """These rows only."""
        return Batch(
            self.parts,
            self.owner[rows],
            self.contexts.take(rows),
            {metric: values.take(rows) for metric, values in self.metrics.items()},
            None if self.time is None else self.time.take(rows),
        )


def in_order(parts: Sequence[Part]) -> list[Part]:
    """The run's own parts by shard and frame, then those of replays, the newest replay first."""
    own = sorted((part for part in parts if part.layout.replay is None), key=lambda part: part.order)
    filed = sorted((part for part in parts if part.layout.replay is not None), key=lambda part: part.order)
    return own + sorted(filed, key=lambda part: str(part.layout.replay), reverse=True)


def read_batch(store: Store, parts: Sequence[Part], wanted: Collection[Metric], *, time: bool) -> Batch:
    """Read contexts and the wanted metrics of these parts of one path."""
    import numpy as np

    def names(part: Part) -> list[str]:
        return _columns(part.layout, wanted, time=time)

    parts = in_order(parts)
    read = [
        (part, table)
        for part, table in zip(parts, read_parts(store, parts, names), strict=True)
        if table is not None and table.num_rows
    ]
    layouts = [part.layout for part, _ in read]
    tables = [table for _, table in read]
    owner = np.repeat(np.arange(len(tables), dtype=np.int32), [table.num_rows for table in tables])
    times = [_named(table, layout.time, "time") for layout, table in zip(layouts, tables, strict=True)] if time else []
    return Batch(
        [part for part, _ in read],
        owner,
        _contexts(layouts, tables),
        _metrics(layouts, tables, wanted),
        concatenate(times) if times else None,
    )


def _columns(layout: Layout, wanted: Collection[Metric], *, time: bool) -> list[str]:
    names = [name for level in layout.levels for name in (level.column, level.index) if name is not None]
    names += [name for name, _ in layout.steps.values()]
    for metric, place in layout.metrics.items():
        if metric in wanted:
            names += [name for name in (place.column, place.none) if name is not None]
    return names + ([layout.time] if time and layout.time else [])


def _named(table: pa.Table, name: str | None, kind: str) -> Column:
    return missing(table.num_rows) if name is None else Column(kind, table.column(name))


def _contexts(layouts: Sequence[Layout], tables: Sequence[pa.Table]) -> Contexts:
    if not tables:
        return Contexts([])
    levels = [_level(position, layouts, tables) for position in range(len(layouts[0].levels))]
    keys = dict.fromkeys(key for layout in layouts for key in layout.steps)
    steps = {}
    for key in keys:
        found = [
            _named(table, *layout.steps.get(key, (None, ""))) for layout, table in zip(layouts, tables, strict=True)
        ]
        steps[key] = concatenate(found)
    return Contexts(levels, steps)


def _level(position: int, layouts: Sequence[Layout], tables: Sequence[pa.Table]) -> Level:
    import numpy as np

    own = [layout.levels[position] for layout in layouts]
    values = concatenate(
        [column(level.kind, table.column(level.column)) for level, table in zip(own, tables, strict=True)]
    )
    names = [level.index or (level.column if level.kind == "int" else None) for level in own]
    index = [
        np.zeros(table.num_rows, np.int64) if name is None else table.column(name).to_numpy()
        for name, table in zip(names, tables, strict=True)
    ]
    is_value = values.kind == "int" and all(level.index is None for level in own)
    loops = layouts[0].loops
    name = loops[position] if position < len(loops) else own[0].column
    return Level(name, values, np.concatenate(index), is_value)


def _metrics(layouts: Sequence[Layout], tables: Sequence[pa.Table], wanted: Collection[Metric]) -> dict[Metric, Column]:
    found = dict.fromkeys(metric for layout in layouts for metric in layout.metrics if metric in wanted)
    return {
        metric: concatenate([_metric(metric, layout, table) for layout, table in zip(layouts, tables, strict=True)])
        for metric in found
    }


def _metric(metric: Metric, layout: Layout, table: pa.Table) -> Column:
    place = layout.metrics.get(metric)
    if place is None:
        return missing(table.num_rows)
    none = None
    if place.none is not None:
        none = table.column(place.none).fill_null(False).to_numpy()
    return column(place.kind, table.column(place.column), none)
