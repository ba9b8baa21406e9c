"""What a run says outside all loops: its arguments, and the last value of every metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tracker.read.layout import Metric
from tracker.read.rows import Selection, read_rows, split_rows
from tracker.read.source import list_parts, steadily
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import EndDocument


@dataclass(frozen=True)
class Summary:
    """Arguments by name, and values by column name."""

    arguments: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_ends(cls, ends: Sequence[EndDocument]) -> Summary:
        """From the end documents of all attempts; what a later attempt says wins."""
        found = cls()
        for end in ends:
            found.arguments.update(end.arguments)
            found.values.update(end.summary)
        return found


def read_summary(store: Store, run: str) -> Summary:
    """The same from the data of a run, for one that has not ended or could not say that it did."""
    return steadily(lambda: _read(store, run))


def _read(store: Store, run: str) -> Summary:
    parts = list_parts(store, run, paths=[keys.RUN_PATH])
    metrics = frozenset(metric for part in parts if part.layout.replay is None for metric in part.layout.metrics)
    rows = read_rows(store, [part for part in parts if part.layout.replay is None], Selection(metrics))
    found = Summary()
    outside = [] if rows is None else split_rows(rows)[1]
    if not outside:
        return found
    for metric, column in outside[0].metrics.items():
        present = column.present()
        filled = [value for i, value in enumerate(column.python()) if present is None or present[i]]
        if filled:
            _target(found, metric)[metric.column] = filled[-1]
    return found


def _target(found: Summary, metric: Metric) -> dict[str, Any]:
    return found.arguments if metric.is_argument else found.values
