"""The one rule for repeated values: the n-th value of a metric in a context stands in the n-th row of that context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracker.read.contexts import Groups, compare_neighbours

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Present = "NDArray[np.bool_] | None"


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Output rows in terms of input rows.

    ``context``: for every output row an input row of its context. ``cells``: for every metric and output row the input
    row that holds the value, or -1. ``None`` stands for "every input row, as it is".
    """

    length: int
    context: NDArray[np.int64] | None
    cells: list[NDArray[np.int64] | None]


def arrange(
    groups: Groups,
    present: Sequence[NDArray[np.bool_] | None],
    length: int,
    *,
    source: NDArray[np.int64] | None = None,
    ranks: NDArray[np.int64] | None = None,
) -> Arrangement:
    """Lay out values by the rule. Contexts follow in the order of first appearance, or of ``ranks`` (one per context).

    ``present[m]`` says which input rows hold a value of metric ``m`` (``None``: all); rows count in input order.
    ``source`` ranks where rows come from: of one metric in one context only the values of the lowest source stay.
    Rows without any value are left out.
    """
    if groups.of_row is None and ranks is None:
        return _distinct(present, length)
    return _Layout(groups, present, length, source, ranks).arrange()


def _distinct(present: Sequence[NDArray[np.bool_] | None], length: int) -> Arrangement:
    """Every input row is a context of its own: nothing moves, empty rows go."""
    import numpy as np

    some = _any(present, length)
    if some is None or some.all():
        return Arrangement(length, None, [None] * len(present))
    kept = np.flatnonzero(some)
    return Arrangement(len(kept), kept, [kept] * len(present))


def _any(present: Sequence[NDArray[np.bool_] | None], length: int) -> NDArray[np.bool_] | None:
    import numpy as np

    found = np.zeros(length, bool)
    for mask in present:
        if mask is None:
            return None
        found |= mask
    return found


class _Layout:
    """Contexts with one input row keep it; only those with several are counted out, so that few repeats cost little."""

    def __init__(
        self,
        groups: Groups,
        present: Sequence[NDArray[np.bool_] | None],
        length: int,
        source: NDArray[np.int64] | None,
        ranks: NDArray[np.int64] | None,
    ) -> None:
        import numpy as np

        self.group = np.arange(length) if groups.of_row is None else groups.of_row
        self.count, self.present, self.length, self.source = groups.count, present, length, source
        self.ranks = ranks
        self.sizes = np.bincount(self.group, minlength=groups.count)
        self.shared = np.flatnonzero(self.sizes[self.group] > 1)

    def arrange(self) -> Arrangement:
        import numpy as np

        some = _any(self.present, self.length)
        alone = self.sizes[self.group] == 1
        if some is not None:
            alone &= some
        kept = np.flatnonzero(alone)
        rows_of = np.zeros(self.count, np.int64)
        rows_of[self.group[kept]] = 1
        counted = [self._count(mask) for mask in self.present]
        for rows, nth in counted:
            np.maximum.at(rows_of, self.group[rows], nth + 1)
        offsets = self._offsets(rows_of)
        total = int(rows_of.sum())
        base = np.full(total, -1, np.int64)
        base[offsets[self.group[kept]]] = kept
        cells: list[NDArray[np.int64] | None] = []
        for rows, nth in counted:
            cell = base.copy()
            cell[offsets[self.group[rows]] + nth] = rows
            cells.append(cell)
        return Arrangement(total, self._context(rows_of, offsets, total), cells)

    def _count(self, mask: NDArray[np.bool_] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The shared rows that hold a value of a metric, and how many of their context come before each."""
        import numpy as np

        rows = self.shared if mask is None else self.shared[mask[self.shared]]
        order = np.argsort(self.group[rows], kind="stable")
        if self.source is not None:  # within a context by source, then by input order
            order = np.lexsort((self.source[rows], self.group[rows]))
        rows = rows[order]
        if not len(rows):
            return rows, np.zeros(0, np.int64)
        first = _first_of_run(self.group[rows])
        if self.source is not None:
            lowest = self.source[rows] == self.source[rows][first]
            rows = rows[lowest]
            first = _first_of_run(self.group[rows])
        return rows, np.arange(len(rows)) - first

    def _offsets(self, rows_of: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first output row of every context."""
        import numpy as np

        order = np.arange(self.count) if self.ranks is None else np.argsort(self.ranks, kind="stable")
        offsets = np.empty(self.count, np.int64)
        offsets[order] = np.cumsum(rows_of[order]) - rows_of[order]
        return offsets

    def _context(self, rows_of: NDArray[np.int64], offsets: NDArray[np.int64], total: int) -> NDArray[np.int64]:
        import numpy as np

        first = np.full(self.count, self.length, np.int64)
        first[self.group[::-1]] = np.arange(self.length)[::-1]
        context = np.zeros(total, np.int64)
        starts = np.flatnonzero(rows_of)
        order = starts[np.argsort(offsets[starts], kind="stable")]
        context[:] = np.repeat(first[order], rows_of[order])
        return context


def _first_of_run(sorted_numbers: NDArray[Any]) -> NDArray[np.int64]:
    """For each position the first position with the same number."""
    import numpy as np

    starts = np.concatenate([np.ones(1, bool), sorted_numbers[1:] != sorted_numbers[:-1]])
    positions = np.arange(len(sorted_numbers))
    found: NDArray[np.int64] = np.maximum.accumulate(np.where(starts, positions, 0))
    return found


def is_interleaved(order: Sequence[NDArray[Any]], stretch: NDArray[np.int64]) -> bool:
    """Whether every writer (``stretch``) went through its contexts in loop order, but their rows in a row do not."""
    return bool(order) and not compare_neighbours(order)[1] and compare_neighbours([stretch, *order])[1]


def rank_groups(groups: Groups, order: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Ranks that bring contexts into loop order."""
    import numpy as np

    length = len(order[0])
    if groups.of_row is None:
        first = np.arange(length)
    else:
        first = np.full(groups.count, length, np.int64)
        first[groups.of_row[::-1]] = np.arange(length)[::-1]
    sequence = np.lexsort([column[first] for column in reversed(order)])
    ranks = np.empty(groups.count, np.int64)
    ranks[sequence] = np.arange(groups.count)
    return ranks
