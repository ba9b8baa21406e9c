"""Dividing the iterations of runs into contiguous slices that keep all workers busy for about the same time.

The rule. A slice is one process and pays for its start. It may begin only behind a checkpoint, because to begin
anywhere else means to execute what another slice executes anyway. The slices of one plan aim at equal cost: the total
over the number of workers, or a half, a third or a quarter of that where it evens out better. No cut leaves less than
two seconds of work on either side. Slices are numbered from the longest to the shortest, so that workers who take them
in that order end at about the same time.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from msgspec import structs

from tracker.replay.answers import Answered
from tracker.replay.documents import Slice
from tracker.replay.history import History
from tracker.replay.levels import Reach

MIN_WORK_S = 2.0
_FINENESS = (1, 2, 3, 4)
_WORTH = 0.98  # finer slices must end this much sooner


@dataclass(frozen=True)
class Work:
    """What is left to do for one run.

    ``wanted``: iterations that are to be answered; ``None``: all. ``before``, ``after``: whether the code around the
    loop is to be answered for, too.
    """

    run: str
    history: History
    reach: Reach
    wanted: tuple[int, ...] | None = None
    before: bool = True
    after: bool = True

    @property
    def run_blocks(self) -> tuple[str, ...] | None:
        """The nested loops that must be executed. Where nothing is nested, iterations themselves are the blocks."""
        return None if self.reach.inside and not self.history.block_loops else self.reach.run_blocks

    def without(self, answered: Answered) -> Work | None:
        """What is left beside what has been answered; ``None``: nothing."""
        if answered.whole:
            return None
        if not self.history.is_divisible:
            return self
        before = self.before and self.reach.outside and not answered.before
        after = self.after and self.reach.outside and self.history.is_complete and not answered.after
        asked = range(self.history.iterations) if self.wanted is None else self.wanted
        left = tuple(index for index in asked if index not in answered.iterations) if self.reach.inside else ()
        if not left and not before and not after:
            return None
        whole = self.wanted is None and len(left) == self.history.iterations
        return Work(self.run, self.history, self.reach, None if whole else left, before, after)


def fit(reach: Reach, history: History) -> tuple[Reach, History]:
    """What static analysis found, after a look at what the checkpoints hold: a block leaves behind what no checkpoint
    has only when it runs.
    """
    if history.loop is None or reach.needs is None:
        return Reach(needs=reach.needs), history.whole()
    if not all(history.holds(name) for name in reach.needs.names):
        return Reach(), history.whole()
    lost = {block for block, name in reach.needs.blocks if not history.holds(name, block)}
    if reach.run_blocks is None or not lost:
        return reach, history
    return replace(reach, run_blocks=tuple(sorted({*reach.run_blocks, *lost})), inside=True), history


@dataclass(frozen=True)
class _Range:
    """Iterations ``first`` to ``last`` of a run, and to the end of the program where ``last`` is ``None``."""

    first: int
    last: int | None


class _Divider:
    """Divides one run. Costs are looked up in running sums, so that a loop of a million iterations is no burden."""

    def __init__(self, work: Work) -> None:
        self.work, self.history, self.costs = work, work.history, work.history.costs
        saved, none = self.history.saved(), frozenset[str]()
        each = (self.costs.iteration_s(work.run_blocks, saved.get(i, none)) for i in range(self.history.iterations))
        self._sums = [0.0, *accumulate(each)]
        self.ranges = list(self._merged()) if self.history.is_divisible else [_Range(0, None)]

    def work_s(self, piece: _Range) -> float:
        """The iterations of a piece and what follows it, without its start."""
        count = self.history.iterations
        stop = count if piece.last is None else min(piece.last + 1, count)
        inside = self._sums[max(stop, min(piece.first, count))] - self._sums[min(piece.first, count)]
        return inside + (self.costs.after_s if piece.last is None else 0.0)

    def start_s(self, first: int) -> float:
        """The program up to iteration ``first``: its start, and catching up from the checkpoint before."""
        if first == 0:
            return self.costs.start_s
        begin = self.history.begin_at(first)
        if begin is None:
            return self.costs.start_s + self._sums[min(first, self.history.iterations)]
        rest = self.costs.rest_s if begin.block >= 0 else 0.0
        return self.costs.start_s + self.costs.restore_s + rest + (first - 1 - begin.iteration) * self.costs.full_s

    def whole_s(self) -> float:
        """The run in as few slices as it can be done in."""
        return sum(self.start_s(piece.first) + self.work_s(piece) for piece in self.ranges)

    def _merged(self) -> Iterator[_Range]:
        """The wanted iterations as ranges; a gap that costs less than a further start is executed along."""
        ranges = list(self._wanted())
        while len(ranges) > 1:
            one, two = ranges[0], ranges[1]
            assert one.last is not None
            gap = self.work_s(_Range(one.last + 1, two.first - 1)) if two.first > one.last + 1 else 0.0
            if gap > self.start_s(two.first):
                yield ranges.pop(0)
            else:
                ranges[:2] = [_Range(one.first, two.last)]
        yield from ranges

    def _wanted(self) -> Iterator[_Range]:
        work, count = self.work, self.history.iterations
        indices = list(range(count) if work.wanted is None and work.reach.inside else work.wanted or ())
        starts = [i for i, (a, b) in enumerate(pairwise(indices), 1) if b != a + 1]
        runs = [indices[a:b] for a, b in pairwise([0, *starts, len(indices)])] if indices else []
        to_end = work.after and self.history.is_complete
        for found in runs:
            is_end = found[-1] >= count - 1 and to_end
            yield _Range(found[0], None if is_end else found[-1])
        if not runs or (to_end and indices[-1] < count - 1):
            yield from self._around(to_end, has_others=bool(runs))

    def _around(self, to_end: bool, *, has_others: bool) -> Iterator[_Range]:
        """What answers for the code around the loop alone: its end from the last checkpoint, or its first iteration."""
        if to_end:
            yield _Range(self.history.iterations, None)
        elif not has_others:
            yield _Range(0, 0)

    def cut(self, target_s: float) -> list[_Range]:
        """The ranges in pieces of about the target's cost, cut behind checkpoints only."""
        found = []
        for piece in self.ranges:
            pieces = max(1, round(self.work_s(piece) / max(target_s - self.start_s(1), MIN_WORK_S)))
            found += self._split(piece, pieces)
        return found

    def _split(self, piece: _Range, count: int) -> list[_Range]:
        """The range in at most so many pieces, each cut at the possible place nearest to the ideal one."""
        places = self._places(piece) if count > 1 else []
        if not places:
            return [piece]
        total = self.work_s(piece)
        sums = [self.work_s(_Range(piece.first, place - 1)) for place in places]
        chosen = {_nearest(places, sums, total * number / count) for number in range(1, count)}
        cuts = self._spaced(piece, sorted(chosen))
        bounds = [piece.first, *cuts]
        ends = [*(cut - 1 for cut in cuts), piece.last]
        return [_Range(first, last) for first, last in zip(bounds, ends, strict=True)]

    def _places(self, piece: _Range) -> list[int]:
        """Iterations at which a slice may begin without executing what another one executes."""
        stop = self.history.iterations if piece.last is None else piece.last + 1
        found = {one.iteration + 1 for one in self.history.checkpoints if one.can_begin}
        return sorted(place for place in found if piece.first < place < stop)

    def _spaced(self, piece: _Range, cuts: Sequence[int]) -> list[int]:
        """The cuts that leave enough work on both sides."""
        found: list[int] = []
        before = piece.first
        for cut in cuts:
            enough = self.work_s(_Range(before, cut - 1)) >= MIN_WORK_S
            if enough and self.work_s(_Range(cut, piece.last)) >= MIN_WORK_S:
                found.append(cut)
                before = cut
        return found

    def slices(self, ranges: Sequence[_Range]) -> Iterator[Slice]:
        """The documents; ``number`` is given later."""
        for position, piece in enumerate(ranges):
            begin = self.history.begin_at(piece.first) if piece.first else None
            yield Slice(
                number=0,
                run=self.work.run,
                first=piece.first,
                last=piece.last,
                checkpoint=None if begin is None else begin.key,
                estimate_s=round(self.start_s(piece.first) + self._own_s(piece), 3),
                is_first=position == 0 and self.work.before,
                is_last=piece.last is None and self.work.after,
            )

    def _own_s(self, piece: _Range) -> float:
        """What a slice does after its start; a run that cannot be divided takes its time, less what it skips."""
        if self.history.loop is not None and self.history.is_divisible:
            return self.work_s(piece)
        spared = sum(
            max(0.0, one.block_s - self.costs.restore_s)
            for one in self.history.checkpoints
            if one.block_loop is not None
            and self.work.run_blocks is not None
            and one.block_loop not in self.work.run_blocks
        )
        return max(0.0, self.history.forward_s - spared)


def _nearest(places: Sequence[int], sums: Sequence[float], ideal: float) -> int:
    at = bisect_left(sums, ideal)
    near = [index for index in (at - 1, at) if 0 <= index < len(places)]
    return places[min(near, key=lambda index: abs(sums[index] - ideal))]


def divide(works: Iterable[Work], workers: int) -> tuple[Slice, ...]:
    """Slices for all runs of a plan, numbered from the longest to the shortest. Pure."""
    dividers = [_Divider(work) for work in works]
    share_s = sum(one.whole_s() for one in dividers) / workers if dividers else 0.0
    best: list[Slice] = []
    for fineness in _FINENESS if workers > 1 else ():
        found = [piece for one in dividers for piece in one.slices(one.cut(share_s / fineness))]
        if not best or makespan(found, workers) < _WORTH * makespan(best, workers):
            best = found
    if workers == 1:
        best = [piece for one in dividers for piece in one.slices(one.ranges)]
    ordered = sorted(best, key=lambda piece: -piece.estimate_s)
    return tuple(structs.replace(piece, number=number) for number, piece in enumerate(ordered))


def makespan(slices: Iterable[Slice], workers: int) -> float:
    """Seconds until all is done when each worker takes the longest slice that is left."""
    busy = [0.0] * max(1, workers)
    for estimate_s in sorted((piece.estimate_s for piece in slices), reverse=True):
        heapq.heappush(busy, heapq.heappop(busy) + estimate_s)
    return max(busy)


def simulate(works: Sequence[Work], workers: int) -> float:
    """The efficiency of a replay on so many workers: the time on one, over the number times the time on all. Pure."""
    alone = makespan(divide(works, 1), 1)
    together = makespan(divide(works, workers), workers)
    return alone / (workers * together) if together else 1.0
