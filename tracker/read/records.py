"""Records in long form: one value each, with the keys of its run, its context and its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tracker.read.catalog import RunView
from tracker.read.layout import Metric
from tracker.read.values import Column, column, concatenate, fill, from_python, missing, repeat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VALUE = "value"
METRIC = "metric"
ABSENT = object()
RUN_KEYS = ("run", "project", "name", "script", "started", "status")


@dataclass(frozen=True, eq=False)
class Series:
    """The values of one metric in a block: the rows they stand in, and the values."""

    metric: Metric
    rows: NDArray[np.int64]
    values: Column


@dataclass(frozen=True, eq=False)
class Block:
    """The records of one loop path of one run; ``context`` holds loops and step keys row by row.

    Records go row by row, and within a row in the order of the metrics.
    """

    view: RunView
    path: tuple[str, ...]
    context: dict[str, Column]
    series: list[Series]
    run_keys: dict[str, Any]

    def __len__(self) -> int:
        return sum(len(one.rows) for one in self.series)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """For every record its place in the series one after the other."""
        import numpy as np

        rows = np.concatenate([one.rows for one in self.series])
        return np.argsort(rows, kind="stable")

    def positions(self) -> list[NDArray[np.int64]]:
        """For each series the numbers of its records in the block."""
        import numpy as np

        place = np.empty(len(self), np.int64)
        place[self._order] = np.arange(len(self))
        return np.split(place, np.cumsum([len(one.rows) for one in self.series])[:-1])

    def gather(self, parts: Sequence[Column]) -> Column:
        """One column in record order from one column for each series."""
        return concatenate(parts).take(self._order)

    def values(self) -> Column:
        """All values, as one kind."""
        return self.gather([one.values for one in self.series])

    def key(self, name: str) -> Column:
        """One key for all records: of the context, else a label, else of the run."""
        import numpy as np

        rows = np.concatenate([one.rows for one in self.series])[self._order]
        if name in self.context and self.context[name].present() is None:
            return self.context[name].take(rows)
        lengths = [len(one.rows) for one in self.series]
        outer = [outer_value(one.metric, self.run_keys, name) for one in self.series]
        parts = [missing(n) if own is ABSENT else _repeated(own, n) for own, n in zip(outer, lengths, strict=True)]
        found = self.gather(parts)
        if name not in self.context:
            return found
        return fill(self.context[name].take(rows), found)


def _repeated(value: Any, length: int) -> Column:
    from datetime import datetime

    import pyarrow as pa

    if isinstance(value, datetime):
        return repeat(column("time", pa.array([value], pa.timestamp("us", tz="UTC"))), length)
    return repeat(from_python([value]), length)


def label_keys(metric: Metric) -> dict[str, Any]:
    """Labels by the key under which records show them: ``value`` and ``metric`` are taken."""
    return {f"{key}.logged" if key in {VALUE, METRIC} else key: value for key, value in metric.labels.items()}


def outer_value(metric: Metric, run_keys: Mapping[str, Any], name: str) -> Any:
    """A key's value outside the context: a label's, else the run's, else ``ABSENT``."""
    if name == METRIC:
        return metric.name
    return label_keys(metric).get(name, run_keys.get(name, ABSENT))


@dataclass(frozen=True, eq=False)
class Records:
    """The records of many blocks one after the other."""

    blocks: list[Block]

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)

    @cached_property
    def keys(self) -> list[str]:
        """All keys that any record has: metric, labels, contexts, then those of runs."""
        labels = [key for block in self.blocks for one in block.series for key in label_keys(one.metric)]
        contexts = [key for block in self.blocks for key in block.context]
        own = [key for block in self.blocks for key in block.run_keys]
        return list(dict.fromkeys([METRIC, *labels, *contexts, *own]))

    def key(self, name: str) -> Column:
        """One key of all records, missing where a record does not have it."""
        return concatenate([block.key(name) for block in self.blocks]) if self.blocks else missing(0)

    def values(self) -> Column:
        """All values as one kind."""
        return concatenate([block.values() for block in self.blocks]) if self.blocks else missing(0)

    def columns(self) -> dict[str, Column]:
        """The long table: value, then every key."""
        return {VALUE: self.values()} | {name: self.key(name) for name in self.keys}

    def dicts(self) -> list[dict[str, Any]]:
        """One mapping a record; keys that a record does not have are not in it."""
        found: list[dict[str, Any]] = []
        for block in self.blocks:
            found += _dicts(block)
        return found


def _dicts(block: Block) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [{} for _ in range(len(block))]
    context = {name: (values.python(), values.present()) for name, values in block.context.items()}
    for one, positions in zip(block.series, block.positions(), strict=True):
        outer = {METRIC: one.metric.name} | label_keys(one.metric)
        cells = one.values.python()
        for position, row, cell in zip(positions.tolist(), one.rows.tolist(), cells, strict=True):
            inner = {name: own[row] for name, (own, present) in context.items() if present is None or present[row]}
            records[position] = {VALUE: cell} | block.run_keys | outer | inner
    return records


def run_keys(view: RunView) -> dict[str, Any]:
    """What records show of their run: identity where it is known, and the arguments."""
    identity: Mapping[str, Any] = {name: getattr(view, name) for name in RUN_KEYS}
    known = {name: value for name, value in identity.items() if value is not None}
    shadowed = {VALUE, METRIC, *known}
    return known | {f"{name}.logged" if name in shadowed else name: value for name, value in view.arguments.items()}
