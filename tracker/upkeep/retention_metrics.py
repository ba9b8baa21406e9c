"""The values of a metric in runs that a policy compares: those inside loops, too."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracker.errors import NameNotFound
from tracker.read.catalog import RunView
from tracker.read.notices import hearing
from tracker.read.parallel import each
from tracker.read.rows import Rows, Selection, read_rows
from tracker.read.source import Part, parts_of, steadily
from tracker.read.where import near
from tracker.store import keys
from tracker.store.base import Store


@dataclass
class Logged:
    """What was logged inside loops: the last number of a metric in a run, and the names that there are in a project.

    ``unread`` are runs of which something could not be read, each with what: what is known of them is not all.
    """

    numbers: dict[tuple[str, str], float] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)

    def number(self, view: RunView, metric: str) -> float | None:
        """The last number of a metric: that outside all loops, else the last inside."""
        given = _outside(view, metric)
        return self.numbers.get((view.run, metric)) if given is None else number_of(given)

    def not_found(self, project: str, metric: str) -> NameNotFound:
        """The error for a metric that is no number in any run of a project."""
        known = self.names.get(project, set()) - {metric}
        return NameNotFound(f"keep_best: no run of {project!r} has a number {metric!r}{near(metric, known)}")


def read_logged(views: Collection[RunView], metrics: Sequence[str]) -> Logged:
    """Read the data of those runs that do not have all of these metrics outside of their loops."""
    if not metrics:
        return Logged()
    with hearing() as heard:
        found = _read_logged(views, metrics)
    found.unread = of_runs(heard)
    return found


def of_runs(heard: Mapping[str, str]) -> dict[str, str]:
    """By run what was left out of what it logged; of an index nothing is lost, because the runs are read then."""
    lost = [key.split("/") for key in heard if key.startswith(keys.RUNS) and not key.endswith("/")]
    return {parts[1]: "/".join(parts) for parts in reversed(lost)}


def _read_logged(views: Collection[RunView], metrics: Sequence[str]) -> Logged:
    found = Logged()
    for view in views:
        found.names.setdefault(view.project, set()).update(view.summary, view.arguments)
    lacking = [view for view in views if any(_outside(view, metric) is None for metric in metrics)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is told by `verify`
        read = [] if not lacking else each(lacking[0].store, lambda view: _last_of(view, metrics), lacking)
    for view, (names, numbers) in zip(lacking, read, strict=True):
        found.names[view.project].update(names)
        found.numbers.update({(view.run, metric): value for metric, value in numbers.items()})
    return found


def number_of(value: Any) -> float | None:
    """A number that can be compared; ``None`` for NaN and what is none."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return math.inf if value > 0 else -math.inf
    return None if math.isnan(number) else number


def rows_of(parts: Sequence[Part], store: Store, metric: str) -> Iterator[tuple[Rows, list[Any]]]:
    """The rows of each loop path with a metric, and its values row by row; those of replays are left out."""
    by_path: dict[str, list[Part]] = {}
    for part in parts:
        if part.layout.replay is None:
            by_path.setdefault(part.piece.key.path, []).append(part)
    for _, own in sorted(by_path.items()):
        wanted = {each for part in own for each in part.layout.metrics if each.column == metric}
        rows = read_rows(store, own, Selection(frozenset(wanted))) if wanted else None
        if rows is not None:
            yield from ((rows, values.python()) for values in rows.metrics.values())


def _outside(view: RunView, metric: str) -> Any:
    return view.summary.get(metric, view.arguments.get(metric))


def _last_of(view: RunView, metrics: Sequence[str]) -> tuple[set[str], dict[str, float]]:
    """The names of all metrics of a run, and the last number of some."""
    return steadily(lambda: _read(view, metrics), view)


def _read(view: RunView, metrics: Sequence[str]) -> tuple[set[str], dict[str, float]]:
    parts = parts_of(view)
    found = {}
    for metric in metrics:
        for _, values in rows_of(parts, view.store, metric):
            numbers = [number for value in values if (number := number_of(value)) is not None]
            if numbers:
                found[metric] = numbers[-1]
    return {metric.column for part in parts for metric in part.layout.metrics}, found
