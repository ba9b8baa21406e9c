"""Sections of many runs below one another: the columns that ``dataframe`` shows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tracker.errors import NameNotFound
from tracker.read.catalog import IDENTITY, RunView
from tracker.read.layout import Metric
from tracker.read.parallel import each
from tracker.read.rows import Selection
from tracker.read.sections import Known, MetricColumn, Section, read_sections
from tracker.read.values import Column, column, concatenate, constant, from_python, missing, repeat
from tracker.read.where import near
from tracker.store.base import Store

LEADING = ("project", "run", "started", "script")
TRAILING = ("status", "duration")
PSEUDO = ("fidelity", "replay", "attempt", "shard", "time")


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of one length."""

    columns: dict[str, Column]
    length: int


class Question:
    """The names that were asked for, and what they turn out to mean in each run."""

    def __init__(self, names: Sequence[str], *, all_attempts: bool) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.all_attempts = all_attempts

    def select(self, known: Known) -> Selection:
        """What to read of a run that has these names."""
        metrics = frozenset(metric for metric in known.metrics if self.asks(metric))
        called = {metric.name for metric in metrics} | {metric.column for metric in metrics}
        pseudo = frozenset(name for name in self.names if name in PSEUDO and name not in called)
        if not metrics and not known.contexts.isdisjoint(self.names):
            metrics = known.metrics
        return Selection(metrics, self.all_attempts, pseudo)

    def asks(self, metric: Metric) -> bool:
        """Whether a metric was asked for by its name or by its one column."""
        return metric.name in self.names or (metric.labels_json != "{}" and metric.column in self.names)

    def check(self, known: Iterable[Known], run_count: int) -> None:
        """Raise ``NameNotFound`` for a name that means nothing in any of the runs."""
        knowns = list(known)
        metrics = {metric for one in knowns for metric in one.metrics}
        names = {name for metric in metrics for name in (metric.name, metric.column)}
        contexts = {name for one in knowns for name in one.contexts}
        for name in self.names:
            if run_count and name not in names | contexts | set(PSEUDO) | set(IDENTITY):
                whose = "the run has no" if run_count == 1 else f"none of the {run_count} runs has"
                raise NameNotFound(f"{whose} {name!r}{near(name, names)}")


def metric_table(store: Store, views: Sequence[RunView], names: Sequence[str], *, all_attempts: bool) -> Table:
    """The table of the named metrics of these runs."""
    question = Question(names, all_attempts=all_attempts)
    read = each(store, lambda view: read_sections(store, view, question.select), views)
    question.check([known for known, _ in read], len(views))
    metrics = {metric for known, _ in read for metric in known.metrics if question.asks(metric)}
    sections = [section for _, found in read for section in found]
    if not metrics and not any(not known.contexts.isdisjoint(question.names) for known, _ in read):
        sections = [Section(view, 1) for view in views]
    return _assemble(sections, question.names, metrics)


def _assemble(sections: Sequence[Section], names: Sequence[str], metrics: Collection[Metric]) -> Table:
    length = sum(section.length for section in sections)
    table = _Builder(sections)
    for name in LEADING:
        table.add(name, partial(_identity, name))
    for name in _ordered(sections):
        table.add(name, partial(_context, name))
    contexts = set(table.columns)
    for name in names:
        matched = _matches(name, metrics)
        for key, shown in matched.items():
            table.add(shown, partial(_metric, key))
        if matched or name in contexts:
            continue
        table.add(name, partial(_identity if name in IDENTITY else _pseudo, name))
    return Table(table.columns, length)


class _Builder:
    """Columns under distinct names, each put together from its parts in all sections."""

    def __init__(self, sections: Sequence[Section]) -> None:
        self.sections = sections
        self.columns: dict[str, Column] = {}

    def add(self, name: str, part: Callable[[Section], Column | None]) -> None:
        found = [(section, part(section)) for section in self.sections]
        parts = [missing(section.length) if own is None else own for section, own in found]
        self.put(name, concatenate(parts) if parts else missing(0))

    def put(self, name: str, column: Column, *, reserved: Collection[str] = ()) -> None:
        """A column that has all rows already."""
        while name in self.columns or name in reserved:
            name += ".logged"
        self.columns[name] = column


def _ordered(sections: Sequence[Section]) -> list[str]:
    """Loops, then step keys; those of deeper loops first, so that an outer loop stands before its inner ones."""
    deepest_first = sorted(sections, key=lambda section: -len(section.loops))
    loops = [name for section in deepest_first for name in section.loops]
    return list(dict.fromkeys(loops + [name for section in deepest_first for name in section.steps]))


def _identity(name: str, section: Section) -> Column:
    return identity(section.view, name, section.length)


def _context(name: str, section: Section) -> Column | None:
    return section.loops.get(name, section.steps.get(name))


def _metric(key: MetricColumn, section: Section) -> Column | None:
    return section.metrics.get(key)


def _pseudo(name: str, section: Section) -> Column | None:
    return section.pseudo.get(name)


def _matches(name: str, metrics: Collection[Metric]) -> dict[MetricColumn, str]:
    """The columns that a name stands for, labels in natural order."""
    found = [
        metric for metric in metrics if metric.name == name or (metric.labels_json != "{}" and metric.column == name)
    ]
    return {(metric.name, metric.labels_json): metric.column for metric in sorted(found, key=lambda each: each.order)}


def identity(view: RunView, name: str, length: int) -> Column:
    """A property of a run in every row."""
    import pyarrow as pa

    value: Any = getattr(view, name)
    if name in {"started", "ended"}:
        return repeat(column("time", pa.array([value], pa.timestamp("us", tz="UTC"))), length)
    return constant(list(value) if name == "tags" else value, length)


def run_table(views: Sequence[RunView]) -> Table:
    """One row per run: identity, arguments, values outside loops, status and duration."""
    table = _Builder([])
    for name in LEADING:
        table.put(name, identities(views, name))
    mappings = [view.summary | view.arguments for view in views]
    for name in dict.fromkeys(name for view in views for name in (*view.arguments, *view.summary)):
        table.put(name, logged(mappings, name), reserved=TRAILING)
    for name in TRAILING:
        table.put(name, identities(views, name))
    return Table(table.columns, len(views))


def identities(views: Sequence[RunView], name: str) -> Column:
    """A property of runs, one row each."""
    import pyarrow as pa

    values: list[Any] = [getattr(view, name) for view in views]
    if name in {"started", "ended"}:
        return column("time", pa.array(values, pa.timestamp("us", tz="UTC")))
    absent = {number for number, value in enumerate(values) if value is None}
    return from_python([list(value) if name == "tags" else value for value in values], absent=absent)


def logged(mappings: Sequence[dict[str, Any]], name: str) -> Column:
    """What each of these mappings has under a name."""
    absent = {number for number, values in enumerate(mappings) if name not in values}
    return from_python([values.get(name) for values in mappings], absent=absent)
