"""Reading the records that filters select."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracker.errors import NameNotFound
from tracker.read.catalog import RunView
from tracker.read.filters import Filters, passing
from tracker.read.layout import Metric
from tracker.read.parallel import each
from tracker.read.pruning import prune
from tracker.read.records import METRIC, VALUE, Block, Records, Series, label_keys, run_keys
from tracker.read.rows import Rows, Selection, read_rows
from tracker.read.sections import context_columns, loop_columns
from tracker.read.source import Part, parts_of, steadily
from tracker.read.values import Column
from tracker.read.where import near
from tracker.store.base import Store
from tracker.store.keys import SYSTEM_LOOP


@dataclass(frozen=True)
class Keys:
    """By which keys records can be filtered: of runs, of contexts, and ``metric`` with the labels."""

    run: frozenset[str] = frozenset()
    context: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()

    def __or__(self, other: Keys) -> Keys:
        return Keys(self.run | other.run, self.context | other.context, self.labels | other.labels)

    def by_scope(self) -> dict[str, list[str]]:
        """The keys by their scope, sorted."""
        return {
            "run": sorted(self.run),
            "context": sorted(self.context),
            "metric": [METRIC, *sorted(self.labels)],
        }


def read_keys(store: Store, views: Sequence[RunView]) -> Keys:
    """The keys of all records of these runs; reads no values."""

    def of_run(view: RunView) -> Keys:
        paths = steadily(lambda: _paths(view, with_system=False), view)
        parts = [part for own in paths.values() for part in own]
        return _keys(parts, run_keys(view))

    found = Keys()
    for keys in each(store, of_run, views):
        found |= keys
    return found


def _keys(parts: Sequence[Part], of_run: Mapping[str, Any]) -> Keys:
    labels = {key for part in parts for metric in part.layout.metrics for key in label_keys(metric)}
    return Keys(frozenset(of_run), frozenset(_contexts(parts)), frozenset(labels))


def _contexts(parts: Sequence[Part]) -> set[str]:
    loops = {name for part in parts for name in loop_columns(part.layout.loops)}
    return loops | {key for part in parts for key in part.layout.steps}


def _paths(view: RunView, *, with_system: bool) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = {}
    for part in parts_of(view):
        if with_system or SYSTEM_LOOP not in part.layout.loops:
            found.setdefault(part.piece.key.path, []).append(part)
    return found


def read_records(store: Store, views: Sequence[RunView], wanted: Mapping[str, Any]) -> Records:
    """The records of these runs that pass the filters; ``NameNotFound`` for a key that none of the runs has.

    Metrics that cannot pass are never read. System samples are records only for those who filter by ``@system``.
    """
    filters = Filters(wanted)
    read = each(store, lambda view: steadily(lambda: _read_run(store, view, filters), view), views)
    known = Keys(labels=frozenset({METRIC, VALUE}))
    for keys, _ in read:
        known |= keys
    names = known.run | known.context | known.labels
    for name in wanted:
        if views and name not in names:
            raise NameNotFound(f"no record has the key {name!r}{near(name, names)}")
    return Records([block for _, blocks in read for block in blocks])


def _read_run(store: Store, view: RunView, filters: Filters) -> tuple[Keys, list[Block]]:
    of_run = run_keys(view)
    paths = _paths(view, with_system=SYSTEM_LOOP in filters.wanted)
    found = []
    for _, parts in sorted(paths.items()):
        contexts = _contexts(parts)
        metrics = frozenset(
            metric
            for part in parts
            for metric in part.layout.metrics
            if not metric.is_argument and filters.may_pass(metric, of_run, contexts)
        )
        rows = read_rows(store, prune(parts, filters.wanted), Selection(metrics)) if metrics else None
        block = None if rows is None else _block(view, rows, filters, of_run)
        if block is not None and len(block):
            found.append(block)
    return _keys([part for own in paths.values() for part in own], of_run), found


def _block(view: RunView, rows: Rows, filters: Filters, of_run: dict[str, Any]) -> Block:
    context = context_columns(rows.contexts)
    passed = filters.of_context(context)
    series = []
    for metric, values in rows.metrics.items():
        kept = filters.rows(metric, of_run, context, passed, rows.length)
        one = _series(metric, values, kept, filters)
        if len(one.rows):
            series.append(one)
    return Block(view, rows.path, context, series, of_run)


def _series(metric: Metric, values: Column, kept: Any, filters: Filters) -> Series:
    import numpy as np

    present = values.present()
    if present is not None:
        kept = kept & present
    if VALUE in filters.wanted:
        kept = kept & passing(filters.wanted[VALUE], values)
    if kept.all():
        return Series(metric, np.arange(len(values)), values)
    rows = np.flatnonzero(kept)
    return Series(metric, rows, values.take(rows))
