"""Which statement of an old version is which statement of the new one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tracker.replay.sequence import align_rows
from tracker.replay.similarity import ALIKE, dice, kind, score
from tracker.replay.tree import Node, Tree

_SAME_UNIT = 0.4  # shared statement shapes from which two functions of other names count as one


class Alignment:
    """The mapping from the nodes of one new file to those of the old files it came from.

    Definitions are paired by qualified name, then by what is in them; their statements by content and order;
    what was moved, by content and neighbours; blocks whose heads changed, by what they contain.
    Nodes in ``probes`` only match equal statements: a missing log must never be taken for its neighbour.
    """

    def __init__(self, new: Tree, pool: Sequence[Tree], probes: Iterable[Node] = ()) -> None:
        self.new = new
        self.pool = list(pool)
        self.image: dict[Node, Node] = {}
        self.origin: dict[Node, Node] = {}
        self._probes = set(probes)
        if not self.pool:
            return
        self._pair(new.root, self.pool[0].root)
        for a, b in self._units():
            for one, two in align_rows(list(a.atoms()), list(b.atoms()), self._score):
                self._pair(one, two)
        self._moved()
        self._fill_gaps()
        self._adopt_blocks()

    def _pair(self, new: Node, old: Node) -> None:
        if new not in self.image and old not in self.origin:
            self.image[new] = old
            self.origin[old] = new

    def _score(self, new: Node, old: Node) -> float:
        if new in self._probes and new.key != old.key:
            return 0.0
        if new.is_definition or old.is_definition:
            return 1.1 if self.image.get(new) is old else 0.0
        return score(new, old)

    # Definitions ---------------------------------------------------------------------------------------------

    def _units(self) -> list[tuple[Node, Node]]:
        """Pairs of definitions whose statements are to be aligned, the module first."""
        pairs = [(self.new.root, self.pool[0].root)]
        by_name: dict[tuple[str, type], list[Node]] = defaultdict(list)
        for tree in self.pool:
            for node in tree.definitions:
                by_name[node.qualified, kind(node)].append(node)
        rest = []
        for node in self.new.definitions:
            same = by_name[node.qualified, kind(node)]
            if same:
                pairs.append((node, same.pop(0)))
            else:
                rest.append(node)
        for a, b in pairs:
            self._pair(a, b)
        pairs += self._renamed(rest, [node for same in by_name.values() for node in same])
        return pairs

    def _renamed(self, new: list[Node], old: list[Node]) -> list[tuple[Node, Node]]:
        """Definitions that changed their names or their places, best pairs first."""
        found = [
            (alike, -i, -j)
            for i, a in enumerate(new)
            for j, b in enumerate(old)
            if kind(a) is kind(b) and (alike := self._unit_score(a, b)) >= _SAME_UNIT
        ]
        pairs = []
        for _, i, j in sorted(found, reverse=True):
            a, b = new[-i], old[-j]
            if a not in self.image and b not in self.origin:
                self._pair(a, b)
                pairs.append((a, b))
        return pairs

    @staticmethod
    def _unit_score(a: Node, b: Node) -> float:
        alike = dice(a.inner_shapes, b.inner_shapes)
        return (
            alike + (0.3 if a.name == b.name else 0.15 * dice(a.bag, b.bag)) if alike > 0.1 or a.name == b.name else 0.0
        )

    # What was moved ------------------------------------------------------------------------------------------

    def _moved(self) -> None:
        """Equal statements at places that the rows could not pair: moved blocks, extracted functions."""
        free = [
            n for n in self.new.root.below() if n not in self.image and n not in self._probes and not n.is_definition
        ]
        for attribute, least in (("key", 3), ("shape", 6)):
            where: dict[int, list[Node]] = defaultdict(list)
            for tree in self.pool:
                for node in tree.root.below():
                    if node not in self.origin and not node.is_definition:
                        where[getattr(node, attribute)].append(node)
            counts = Counter(getattr(n, attribute) for n in free if n not in self.image)
            for node in free:
                hash_ = getattr(node, attribute)
                if node in self.image or len(node.words) < least or hash_ not in where:
                    continue
                candidates = [c for c in where[hash_] if c not in self.origin]
                chosen = self._choose(node, candidates, unique=counts[hash_] == 1)
                if chosen is not None:
                    self._pair(node, chosen)

    def _choose(self, node: Node, candidates: list[Node], *, unique: bool) -> Node | None:
        if not candidates:
            return None
        ranked = sorted(candidates, key=lambda c: -self._support(node, c))
        if self._support(node, ranked[0]) > 0 or (unique and len(candidates) == 1):
            return ranked[0] if score(node, ranked[0]) >= ALIKE else None
        return None

    def _support(self, new: Node, old: Node) -> int:
        """How many close neighbours of the one are matched with close neighbours of the other."""
        near = {self.image.get(n) for n in (_beside(new, -1), _beside(new, 1), _beside(new, -2), _beside(new, 2)) if n}
        there = {n for n in (_beside(old, -1), _beside(old, 1), _beside(old, -2), _beside(old, 2)) if n}
        parent = new.parent is not None and self.image.get(new.parent) is old.parent
        return len(near & there) + parent

    def _fill_gaps(self) -> None:
        """Statements between matched neighbours that are themselves only similar."""
        for unit in [self.new.root, *self.new.definitions]:
            row = list(unit.atoms())
            ends = [-1, *(i for i, n in enumerate(row) if n in self.image), len(row)]
            for start, end in pairwise(ends):
                gap = row[start + 1 : end]
                if gap:
                    before = self.image[row[start]] if start >= 0 else None
                    after = self.image[row[end]] if end < len(row) else None
                    self._fill(gap, before, after)

    def _fill(self, gap: list[Node], before: Node | None, after: Node | None) -> None:
        anchor = before or after
        if anchor is None or (before and after and before.owner is not after.owner):
            return
        row = anchor.owner.atoms()
        start = row.index(before) + 1 if before in row else 0
        end = row.index(after) if after in row else len(row)
        free = [n for n in row[start:end] if n not in self.origin]
        if free and len(gap) * len(free) <= 2500:
            for a, b in align_rows(gap, free, self._score):
                self._pair(a, b)

    def _adopt_blocks(self) -> None:
        """Blocks that nothing else paired and whose contents agree."""
        for node in reversed(list(self.new.root.below())):
            if node in self.image or not node.blocks or node in self._probes:
                continue
            votes = Counter(
                old.parent
                for child in node.children()
                if (old := self.image.get(child)) and old.parent and old.field == child.field
            )
            for parent, count in votes.most_common(1):
                if parent not in self.origin and kind(parent) is kind(node) and count * 2 >= votes.total():
                    self._pair(node, parent)


def _beside(node: Node, step: int) -> Node | None:
    at = node.index + step
    return node.block[at] if 0 <= at < len(node.block) else None
