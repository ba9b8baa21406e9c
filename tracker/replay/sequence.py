"""Alignment of two rows of statements: unique equal ones as anchors, the best scoring pairs between them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from tracker.replay.similarity import ALIKE
from tracker.replay.tree import Node

_LARGEST_TABLE = 6000  # cells that may be scored one by one; larger gaps keep to equal statements

Pair = tuple[Node, Node]
Score = Callable[[Node, Node], float]


def align_rows(new: Sequence[Node], old: Sequence[Node], score: Score) -> Iterator[Pair]:
    """Pairs of corresponding statements, in order, crossing nowhere."""
    start, end = _common_ends(new, old)
    yield from zip(new[:start], old[:start], strict=True)
    yield from _between(new[start : len(new) - end], old[start : len(old) - end], score)
    if end:
        yield from zip(new[-end:], old[-end:], strict=True)


def _common_ends(new: Sequence[Node], old: Sequence[Node]) -> tuple[int, int]:
    shorter = min(len(new), len(old))
    start = 0
    while start < shorter and new[start].key == old[start].key and new[start].shape == old[start].shape:
        start += 1
    end = 0
    while end < shorter - start and new[-1 - end].key == old[-1 - end].key:
        end += 1
    # Equal rows of unequal length: the last equal ones may belong elsewhere, so leave the border to the table.
    return (start, end) if len(new) == len(old) == start else (max(0, start - 1), max(0, end - 1))


def _between(new: Sequence[Node], old: Sequence[Node], score: Score) -> Iterator[Pair]:
    if not new or not old:
        return
    anchors = _anchors(new, old, score)
    if not anchors:
        yield from _table(new, old, score) if len(new) * len(old) <= _LARGEST_TABLE else _equal_runs(new, old, score)
        return
    i = j = 0
    for p, q in anchors:
        yield from _between(new[i:p], old[j:q], score)
        yield new[p], old[q]
        i, j = p + 1, q + 1
    yield from _between(new[i:], old[j:], score)


def _anchors(new: Sequence[Node], old: Sequence[Node], score: Score) -> list[tuple[int, int]]:
    """The longest rising row of statements that are unique on both sides (patience)."""
    if len(new) * len(old) <= 36:
        return []
    counts_new, counts_old = Counter(n.key for n in new), Counter(n.key for n in old)
    where = {node.key: j for j, node in enumerate(old) if counts_old[node.key] == 1}
    points = [
        (i, where[node.key])
        for i, node in enumerate(new)
        if counts_new[node.key] == 1 and node.key in where and score(node, old[where[node.key]]) >= 1.0
    ]
    return _rising(points)


def _rising(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    tails: list[int] = []
    heads: list[int] = []
    before: list[int] = []
    for at, (_, j) in enumerate(points):
        place = bisect_left(tails, j)
        before.append(heads[place - 1] if place else -1)
        if place == len(tails):
            tails.append(j)
            heads.append(at)
        else:
            tails[place], heads[place] = j, at
    row, at = [], heads[-1] if heads else -1
    while at >= 0:
        row.append(points[at])
        at = before[at]
    return row[::-1]


def _table(new: Sequence[Node], old: Sequence[Node], score: Score) -> Iterator[Pair]:
    """The non-crossing pairs with the highest total score, by dynamic programming."""
    width = len(old) + 1
    scores = [[score(a, b) for b in old] for a in new]
    best = [[0.0] * width for _ in range(len(new) + 1)]
    for i in range(len(new) - 1, -1, -1):
        row, below, values = best[i], best[i + 1], scores[i]
        for j in range(len(old) - 1, -1, -1):
            top = below[j] if below[j] >= row[j + 1] else row[j + 1]
            value = values[j]
            if value >= ALIKE and value + below[j + 1] > top:
                top = value + below[j + 1]
            row[j] = top
    i = j = 0
    while i < len(new) and j < len(old):
        value = scores[i][j]
        if value >= ALIKE and best[i][j] == value + best[i + 1][j + 1]:
            yield new[i], old[j]
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1


def _equal_runs(new: Sequence[Node], old: Sequence[Node], score: Score) -> Iterator[Pair]:
    """For gaps too large for the table: equal statements only, by longest common runs."""
    from difflib import SequenceMatcher

    blocks = SequenceMatcher(None, [n.key for n in new], [n.key for n in old], autojunk=False).get_matching_blocks()
    i = j = 0
    for p, q, size in blocks:
        if (p - i) * (q - j) <= _LARGEST_TABLE:
            yield from _table(new[i:p], old[j:q], score)
        yield from zip(new[p : p + size], old[q : q + size], strict=True)
        i, j = p + size, q + size
