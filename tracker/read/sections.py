"""The rows of one run for a set of names: one section per loop path, run-level values repeated on every row."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracker.read.catalog import RunView
from tracker.read.contexts import Contexts
from tracker.read.layout import Metric
from tracker.read.rows import Rows, Selection, read_rows, split_rows
from tracker.read.source import Part, parts_of, steadily
from tracker.read.values import Column, fill, repeat
from tracker.store.base import Store

if TYPE_CHECKING:
    pass

MetricColumn = tuple[str, str]
"""Name and labels: an argument and a metric that are called the same share a column."""


@dataclass(frozen=True, eq=False)
class Section:
    """Rows of one loop path of a run: context columns by name, metrics, and pseudo-columns."""

    view: RunView
    length: int
    loops: dict[str, Column] = field(default_factory=dict)
    steps: dict[str, Column] = field(default_factory=dict)
    metrics: dict[MetricColumn, Column] = field(default_factory=dict)
    pseudo: dict[str, Column] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Known:
    """What a run has: its metrics, and its loops and step keys."""

    metrics: frozenset[Metric] = frozenset()
    contexts: frozenset[str] = frozenset()


def known_of(parts: Collection[Part]) -> Known:
    """The names in the layouts of these parts."""
    metrics = frozenset(metric for part in parts for metric in part.layout.metrics)
    loops = {name for part in parts for name in loop_columns(part.layout.loops)}
    return Known(metrics, frozenset(loops | {key for part in parts for key in part.layout.steps}))


def loop_columns(loops: Collection[str]) -> list[str]:
    """The column names of nested loops; a loop inside one of the same name gets a number: ``epoch``, ``epoch.2``."""
    seen: dict[str, int] = {}
    found = []
    for name in loops:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return found


def read_sections(store: Store, view: RunView, choose: Callable[[Known], Selection]) -> tuple[Known, list[Section]]:
    """Everything that a run has of what ``choose`` selects from what it knows, and what it knows."""
    return steadily(lambda: _read(store, view, choose), view)


def _read(store: Store, view: RunView, choose: Callable[[Known], Selection]) -> tuple[Known, list[Section]]:
    parts = parts_of(view)
    known = known_of(parts)
    selection = choose(known)
    by_path: dict[str, list[Part]] = {}
    for part in parts:
        by_path.setdefault(part.piece.key.path, []).append(part)
    found = [read_rows(store, own, selection) for _, own in sorted(by_path.items())]
    return known, sections(view, [rows for rows in found if rows is not None])


def sections(view: RunView, rows: list[Rows]) -> list[Section]:
    """Sections with the run-level values filled into all the others.

    The run's own rows are shown where they say something that no other row does: a name with several values, or one
    that is repeated nowhere.
    """
    own, others = [], []
    for each in rows:
        inside, outside = split_rows(each)
        others += [_section(view, part) for part in inside]
        own += [_section(view, part) for part in outside]
    if not own:
        return others
    level = own[0]
    filled = [_fill(section, _last_values(level)) for section in others]
    if _says_more(level, others):
        filled.insert(0, _fill(level, _last_values(level, single=True)))
    return filled


def _section(view: RunView, rows: Rows) -> Section:
    loops = _loops(rows.contexts)
    return Section(view, rows.length, loops, _steps(rows.contexts, loops), columns_of(rows), rows.pseudo)


def context_columns(contexts: Contexts) -> dict[str, Column]:
    """Loops from the outside in, then step keys, each under the name of its column."""
    loops = _loops(contexts)
    return loops | _steps(contexts, loops)


def _loops(contexts: Contexts) -> dict[str, Column]:
    names = loop_columns([level.name for level in contexts.levels])
    return dict(zip(names, [level.values for level in contexts.levels], strict=True))


def _steps(contexts: Contexts, loops: Collection[str]) -> dict[str, Column]:
    return {f"{key}.logged" if key in loops else key: values for key, values in contexts.steps.items()}


def columns_of(rows: Rows) -> dict[MetricColumn, Column]:
    """By column what was logged, and where nothing was, the argument of that name."""
    found: dict[MetricColumn, Column] = {}
    for metric, values in sorted(rows.metrics.items(), key=lambda item: item[0].is_argument):
        key = (metric.name, metric.labels_json)
        found[key] = fill(found[key], values) if key in found else values
    return found


def _last_values(level: Section, *, single: bool = False) -> dict[MetricColumn, Column]:
    """The last value of every run-level column, one row each; with ``single`` only of those that have no other."""
    import numpy as np

    found = {}
    for key, values in level.metrics.items():
        present = values.present()
        rows = np.arange(level.length) if present is None else np.flatnonzero(present)
        if len(rows) == 1 or (len(rows) and not single):
            found[key] = values.take(rows[-1:])
    return found


def _fill(section: Section, level: dict[MetricColumn, Column]) -> Section:
    metrics = dict(section.metrics)
    for key, value in level.items():
        repeated = repeat(value, section.length)
        metrics[key] = fill(metrics[key], repeated) if key in metrics else repeated
    return Section(section.view, section.length, section.loops, section.steps, metrics, section.pseudo)


def _says_more(level: Section, others: list[Section]) -> bool:
    if not others:
        return True
    for key, values in level.metrics.items():
        present = values.present()
        if (level.length if present is None else int(present.sum())) > 1:
            return True
        if all(_is_full(section.metrics.get(key)) for section in others):
            return True
    return False


def _is_full(values: Column | None) -> bool:
    return values is not None and values.present() is None
