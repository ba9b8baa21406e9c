"""Which gap of a block: between the matched neighbours, beside the one it stands next to."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from tracker.replay.similarity import dice
from tracker.replay.tree import Node

_TERMINAL = (ast.Return, ast.Raise, ast.Break, ast.Continue)


@dataclass(slots=True)
class Place:
    """A gap in a block of an old version: before its ``gap``-th statement; ``doubts`` say what was unclear."""

    parent: Node
    field: str
    gap: int
    doubts: list[str] = dataclasses.field(default_factory=list)
    least: int = 0
    most: int = 0

    @property
    def block(self) -> list[Node]:
        return self.parent.blocks.get(self.field, [])

    @property
    def unit(self) -> Node:
        return self.parent if self.parent.is_definition else self.parent.owner

    @property
    def at(self) -> int:
        """The place in the order of the old tree: what has a lower one stands before."""
        block = self.block
        if not block:
            return self.parent.end
        return block[self.gap].at if self.gap < len(block) else block[-1].end


@dataclass(slots=True)
class Anchor:
    """A matched neighbour, as it stands in the old version, and how many statements lie between."""

    node: Node
    distance: int


class Gaps:
    """Chooses gaps with the mapping of one new file to its old ones."""

    def __init__(self, image: Mapping[Node, Node], origin: Mapping[Node, Node]) -> None:
        self.image = image
        self.origin = origin

    def settle(self, place: Place, root: Node, before: Anchor | None, after: Anchor | None) -> None:
        block, here = place.block, (place.parent, place.field)
        low, high = _floor(block), len(block)
        first = climb(before.node, here) if before else None
        last = climb(after.node, here) if after else None
        if first is not None:
            low = max(low, first.index + 1)
        if last is not None:
            high = last.index
        elif block and isinstance(block[-1].statement, _TERMINAL) and block[-1] is not first:
            high -= 1
        if low > high:
            if first is not None and last is not None and not root.is_import and not root.is_definition:
                place.doubts.append("the statements around it stand in another order")
            nearer_after = (
                last is not None and first is not None and before and after and after.distance < before.distance
            )
            low = high = high if nearer_after or first is None else low
        high = max(low, high)
        place.least, place.most = low, high
        place.gap = self._choose(
            place, root, before if first is not None else None, after if last is not None else None
        )
        real = [n for n in block[_floor(block) :] if not _is_filler(n)]
        if first is None and last is None and real and not (root.is_import or root.is_definition):
            place.doubts.append("no statement around it exists")

    def _choose(self, place: Place, root: Node, before: Anchor | None, after: Anchor | None) -> int:
        """One of several gaps between the neighbours: beside the one it stands next to."""
        low, high = place.least, place.most
        if low == high:
            return low
        beside = [
            n.index + 1 for n in place.block[low:high] if set(n.logged) & set(root.logged) and n not in self.origin
        ]
        if beside:
            return beside[-1]
        commented = _beside_comment(place, root)
        if commented is not None:
            return commented
        if before is not None and after is not None:
            return self._between(place, root, before, after)
        near = before or after
        if near is None:
            return _alone(place, root)
        if near.distance:
            return self._balance(place, root)
        return low if before else high

    def _between(self, place: Place, root: Node, before: Anchor, after: Anchor) -> int:
        """The gap where both neighbours exist and old statements lie between them."""
        if before.distance and after.distance:
            return self._balance(place, root)
        if before.distance == after.distance:
            return place.most if _blank_before(root) and not _blank_after(root) else place.least
        return place.least if before.distance == 0 else place.most

    def _balance(self, place: Place, root: Node) -> int:
        """The gap at which what lies before and after looks most like what lies there in the new version."""
        earlier = [n.bag for n in root.block[max(0, root.index - 6) : root.index] if n not in self.image]
        later = [n.bag for n in root.block[root.index + 1 : root.index + 7] if n not in self.image]
        best, chosen = -1.0, place.least
        for gap in range(place.least, place.most + 1):
            total = sum(max((dice(n.bag, bag) for bag in earlier), default=0.0) for n in place.block[place.least : gap])
            total += sum(max((dice(n.bag, bag) for bag in later), default=0.0) for n in place.block[gap : place.most])
            if total > best + 1e-9:
                best, chosen = total, gap
        return chosen


def climb(node: Node, block: tuple[Node, str]) -> Node | None:
    """The statement of a block that contains a node, or is it."""
    for at in [node, *node.above()]:
        if at.parent is block[0] and at.field == block[1]:
            return at
    return None


def _floor(block: list[Node]) -> int:
    """The first gap behind the docstring and the ``__future__`` imports."""
    at = 1 if block and block[0].is_docstring else 0
    while at < len(block) and isinstance(s := block[at].statement, ast.ImportFrom) and s.module == "__future__":
        at += 1
    return at


def _alone(place: Place, root: Node) -> int:
    """The gap in a block of which nothing is known: imports below the imports, what was last comes last."""
    if root.is_import:
        return _after_imports(place)
    last = root.index == len(root.block) - 1 and not all(_is_filler(n) for n in place.block)
    return place.most if last else place.least


def _after_imports(place: Place) -> int:
    at = place.least
    while at < place.most and place.block[at].is_import:
        at += 1
    return at


def _beside_comment(place: Place, root: Node) -> int | None:
    """The gap that has the comment which stands directly above or below the statement in the new version."""
    source = root.tree.source
    for line, where in ((root.first - 1, -1), (root.last + 1, 1)):
        text = source.bare(line).strip() if 1 <= line <= len(source.lines) else ""
        if len(text) > 3 and text.startswith("#"):
            gaps = [gap for gap in range(place.least, place.most + 1) if text in _comments(place, gap, where)]
            if len(gaps) == 1:
                return gaps[0]
    return None


def _comments(place: Place, gap: int, where: int) -> list[str]:
    """The comment lines in a gap between two statements of a block."""
    block, source = place.block, place.parent.tree.source
    start = block[gap - 1].last + 1 if gap else max(1, block[0].first - 10)
    end = block[gap].first if gap < len(block) else min(len(source.lines) + 1, block[-1].last + 6)
    return [text for i in range(start, end) if (text := source.bare(i).strip()).startswith("#")]


def _is_filler(node: Node) -> bool:
    """``pass`` or ``...``."""
    value = node.statement.value if isinstance(node.statement, ast.Expr) else None
    return isinstance(node.statement, ast.Pass) or (isinstance(value, ast.Constant) and value.value is ...)


def _blank_before(node: Node) -> bool:
    return node.first > 1 and not node.tree.source.bare(node.first - 1).strip()


def _blank_after(node: Node) -> bool:
    source = node.tree.source
    return node.last < len(source.lines) and not source.bare(node.last + 1).strip()
