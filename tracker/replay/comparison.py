"""Comparing the values that a replay logged anew with those that the run had logged, one loop path at a time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracker.read.batch import Batch
from tracker.read.contexts import group
from tracker.read.layout import Metric
from tracker.read.values import Column
from tracker.replay.relogged import describe, join, present, times

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

TOLERANCE = 1e-6  # greatest relative difference of values that are called close


@dataclass(frozen=True)
class Difference:
    """One record that is not what it was; ``time`` is that of the run's record, or of the replay's where it is new."""

    time: int
    text: str


@dataclass(frozen=True)
class Comparison:
    """What became of the records of one or several loop paths.

    ``differing``: the first that differs by more than the tolerance; ``absent``: the first that the replay did not
    log; ``added``: the first that the run had not logged. ``relative``: the greatest difference within the tolerance.
    """

    compared: int = 0
    relative: float = 0.0
    is_exact: bool = True
    differing: Difference | None = None
    absent: Difference | None = None
    added: Difference | None = None

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            self.compared + other.compared,
            max(self.relative, other.relative),
            self.is_exact and other.is_exact,
            _first(self.differing, other.differing),
            _first(self.absent, other.absent),
            _first(self.added, other.added),
        )


def _first(one: Difference | None, other: Difference | None) -> Difference | None:
    found = [each for each in (one, other) if each is not None]
    return min(found, key=lambda each: each.time, default=None)


def compare(old: Batch, new: Batch, *, optional: NDArray[np.bool_], probed: Collection[str] = ()) -> Comparison:
    """Compare the n-th value of every metric of ``old`` in every context with the n-th of ``new``.

    ``optional`` marks rows of ``old`` that the replay need not have logged; of the names that are ``probed`` it may log
    more than the run did.
    """
    both = join(old, new)
    groups = group(both.contexts.codes(), len(both))
    unordered = any(len({part.piece.key.shard for part in side.parts}) > 1 for side in (old, new))
    pairs = _Pairs(both, len(old), groups.of_row, times(both), optional, frozenset(probed), unordered)
    found = Comparison()
    for metric in old.metrics:
        found += pairs.compare(metric, both.metrics[metric])
    return found


@dataclass(frozen=True, eq=False)
class _Pairs:
    both: Batch
    old_count: int
    of_row: NDArray[np.int64] | None
    time: NDArray[np.int64]
    optional: NDArray[np.bool_]
    probed: frozenset[str]
    unordered: bool  # several processes logged: what they did in one context has no order

    def compare(self, metric: Metric, values: Column) -> Comparison:
        import numpy as np

        rows = np.flatnonzero(present(values))
        split = int(np.searchsorted(rows, self.old_count))
        rank = _rank(values) if self.unordered else None
        old, new = self._counted(rows[:split], rank), self._counted(rows[split:], rank)
        factor = max(int(nth.max(initial=0)) for _, _, nth in (old, new)) + 1
        (old_rows, old_keys), (new_rows, new_keys) = (_by_key(*side, factor) for side in (old, new))
        at = np.searchsorted(new_keys, old_keys).clip(max=max(len(new_keys) - 1, 0))
        found = new_keys[at] == old_keys if len(new_keys) else np.zeros(len(old_keys), bool)
        relogged = np.zeros(len(new_keys), bool)
        relogged[at[found]] = True
        absent = old_rows[~found]
        added = new_rows[~relogged] if metric.name not in self.probed else new_rows[:0]
        return self._judge(metric, values, old_rows[found], new_rows[at[found]]) + Comparison(
            absent=self._earliest(metric, values, absent[~self.optional[absent]], "was not logged, {} before"),
            added=self._earliest(metric, values, added, "{} was not logged before"),
        )

    def _counted(
        self, rows: NDArray[np.int64], rank: NDArray[Any] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows by context, the contexts, and how many values of the same one come before each."""
        import numpy as np

        if self.of_row is None or not len(rows):
            return rows, rows, np.zeros(len(rows), np.int64)
        if rank is None:
            order = np.argsort(self.of_row[rows], kind="stable")
        else:
            order = np.lexsort((rank[rows], self.of_row[rows]))
        rows = rows[order]
        contexts = self.of_row[rows]
        starts = np.flatnonzero(np.r_[True, contexts[1:] != contexts[:-1]])
        sizes = np.diff(np.r_[starts, len(rows)])
        return rows, contexts, np.arange(len(rows)) - np.repeat(starts, sizes)

    def _judge(self, metric: Metric, values: Column, old: NDArray[np.int64], new: NDArray[np.int64]) -> Comparison:
        import numpy as np

        relative = difference(values, old, new)
        beyond = np.flatnonzero(relative > TOLERANCE)
        differing = None
        if len(beyond):
            place = beyond[np.argmin(self.time[old[beyond]])]
            was, now = (values.take(rows[[place]]).python()[0] for rows in (old, new))
            differing = Difference(
                int(self.time[old[place]]), f"{self._name(metric, int(old[place]))}: {now!r} was {was!r}"
            )
        close = relative[relative <= TOLERANCE]
        is_exact = not len(beyond) and bool((close < 0).all())
        return Comparison(len(old), float(close.max(initial=0.0)), is_exact, differing)

    def _earliest(self, metric: Metric, values: Column, rows: NDArray[np.int64], text: str) -> Difference | None:
        import numpy as np

        if not len(rows):
            return None
        row = rows[np.argmin(self.time[rows])]
        value = values.take(np.array([row])).python()[0]
        return Difference(int(self.time[row]), f"{self._name(metric, int(row))}: {text.format(repr(value))}")

    def _name(self, metric: Metric, row: int) -> str:
        context = describe(self.both, row)
        return f"{metric.column} at {context}" if context else metric.column


def _rank(values: Column) -> NDArray[Any] | None:
    """Numbers that order values; ``None`` where they have no order that is cheap."""
    if values.kind == "float":
        return _to_floats(values.data.combine_chunks())
    if values.kind == "int":
        found: NDArray[Any] = values.data.fill_null(0).to_numpy()
        return found
    return None


def _by_key(rows: Any, contexts: Any, nth: Any, factor: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    import numpy as np

    found = contexts * factor + nth
    order = np.argsort(found, kind="stable")
    return rows[order], found[order]


def difference(values: Column, old: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.float64]:
    """For every pair of rows -1 where the values are the same bit for bit, else their relative difference.

    It is infinite for anything that is not two finite floats; NaN is the same as NaN, and -0.0 is close to 0.0.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    sides = [values.data.combine_chunks().take(pa.array(rows)) for rows in (old, new)]
    if values.kind == "float":
        found = _float_difference(*(_to_floats(side) for side in sides))
    else:
        same = pc.equal(*sides).fill_null(False).to_numpy(zero_copy_only=False)
        found = np.where(same, -1.0, np.inf)
    if values.none is not None:
        was, now = values.none[old], values.none[new]
        found[was & now] = -1.0
        found[was != now] = np.inf
    return found


def _to_floats(data: pa.Array) -> NDArray[np.float64]:
    import numpy as np
    import pyarrow as pa

    found: NDArray[np.float64] = np.ascontiguousarray(data.cast(pa.float64()).to_numpy(zero_copy_only=False))
    return found


def _float_difference(old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    same = (old.view(np.int64) == new.view(np.int64)) | (np.isnan(old) & np.isnan(new))
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(old), np.abs(new))
        relative = np.where(size > 0, np.abs(old - new) / size, 0.0)
    relative[~np.isfinite(old) | ~np.isfinite(new)] = np.inf
    relative[np.isnan(relative)] = np.inf
    return np.where(same, -1.0, relative)
