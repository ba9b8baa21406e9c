"""Where in an old version a statement of the new one belongs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tracker.replay.gap import Anchor, Gaps, Place, climb
from tracker.replay.match import Alignment
from tracker.replay.tree import Node

_CLAUSES = (ast.ExceptHandler, ast.match_case)
_NAMES = {"orelse": "else", "finalbody": "finally", "handlers": "except", "cases": "case", "body": "body"}


class Nowhere(Exception):
    """The place does not exist in the old version; the text says why. Becomes a ``Problem`` before anyone sees it."""


class Placer:
    """Finds places for statements of one new file. ``moving`` holds what is to be inserted itself."""

    def __init__(self, alignment: Alignment, moving: set[Node]) -> None:
        self.image = alignment.image
        self.origin = alignment.origin
        self.moving = moving
        self._gaps = Gaps(alignment.image, alignment.origin)

    def root(self, node: Node) -> Node:
        """The outermost statement that must be inserted with this one: itself, or a new block around it."""
        at = node
        while True:
            parent = at.parent
            assert parent is not None
            if parent.parent is None or parent in self.image:
                return at
            if parent.is_definition:
                if self._is_extracted(parent):
                    return at
            elif isinstance(parent.statement, _CLAUSES):
                if parent.parent in self.image:
                    what = "except clause" if isinstance(parent.statement, ast.ExceptHandler) else "case"
                    raise Nowhere(f"the {what} of line {parent.first} does not exist")
            elif any(self._images(sibling) for sibling in at.block if sibling is not at):
                return at
            elif self._is_used(parent, at):
                raise Nowhere(f"the branch of line {parent.first} does not exist")
            at = parent

    def _is_used(self, parent: Node, at: Node) -> bool:
        """Whether other blocks of a new compound statement stand unguarded in the old version."""
        if isinstance(parent.statement, ast.If):
            return False
        return any(self._images(child) for child in parent.children() if child.field != at.field)

    def _is_extracted(self, function: Node) -> bool:
        """Whether a function that has no counterpart is old code at a new place."""
        atoms = [n for n in function.atoms() if n not in self.moving and not n.is_docstring]
        matched = [n for n in atoms if n in self.image]
        telling = len(matched) >= 2 or any(len(n.words) >= 6 for n in matched)
        return telling and len(matched) * 3 >= len(atoms)

    def _images(self, node: Node) -> list[Node]:
        """What of a statement exists in the old version."""
        if node in self.image:
            return [self.image[node]]
        if node in self.moving:
            return []
        return [self.image[n] for n in node.below() if n in self.image and n not in self.moving]

    def _anchors(self, root: Node, step: int) -> Iterator[Anchor]:
        """Matched neighbours in one direction, nearest first; through new blocks around, never out of a function."""
        at, distance = root, 0
        while True:
            block = at.block
            rest = block[at.index + 1 :] if step > 0 else block[at.index - 1 :: -1] if at.index else []
            for sibling in rest:
                images = self._images(sibling)
                if images:
                    yield Anchor(images[0] if step > 0 else images[-1], distance)
                distance += sibling not in self.moving
            parent = at.parent
            if parent is None or parent in self.image or parent.is_definition:
                return
            at = parent

    def place(self, root: Node) -> Place:
        """The gap for a root (see ``root``); raises ``Nowhere``."""
        before = next(self._anchors(root, -1), None)
        after = next(self._anchors(root, 1), None)
        home = self._home(root)
        if isinstance(home, Place):
            return home
        doubts: list[str] = []
        parent, name = self._block(home, before, after, doubts)
        place = Place(parent, name, 0, doubts)
        self._gaps.settle(place, root, before, after)
        return place

    def _home(self, root: Node) -> tuple[Node, str] | Place | None:
        """The counterpart of the block that the root stands in."""
        assert root.parent is not None
        parent = self.image.get(root.parent)
        if parent is None:
            return None
        if root.field not in parent.blocks:
            if root.field == "orelse" and isinstance(parent.statement, (ast.If, ast.For, ast.While, ast.Try)):
                return Place(parent, "orelse", 0)
            raise Nowhere(f"the {_NAMES[root.field]} block around line {root.first} does not exist")
        if parent.blocks[root.field][0].is_elif:
            raise Nowhere(f"the else block around line {root.first} is an elif there")
        return parent, root.field

    def _block(
        self, home: tuple[Node, str] | None, before: Anchor | None, after: Anchor | None, doubts: list[str]
    ) -> tuple[Node, str]:
        if before and after:
            shared = _shared_block(before.node, after.node)
            if home is None:
                return self._beside(before, after, doubts)
            if shared and (shared == home or self._within_new(shared[0], home)):
                if shared == home and before.distance == 0 and self._is_loosened(before.node, home):
                    return _block_of(before.node)
                return shared
            if shared is None or not (climb(before.node, home) or climb(after.node, home)):
                doubts.append("the code around it stands in another block")
                if shared and self._strays(shared, home):
                    return shared
            return home
        return self._block_of_one(home, before or after, doubts)

    def _block_of_one(
        self, home: tuple[Node, str] | None, anchor: Anchor | None, doubts: list[str]
    ) -> tuple[Node, str]:
        """The same where a neighbour exists on one side only, or on none."""
        if home is None:
            if anchor is None:
                raise Nowhere("nothing around it exists")
            doubts.append(f"the block around it is new; it stands beside line {anchor.node.first} there")
            return _block_of(anchor.node)
        if anchor is None:
            return home
        inner = climb(anchor.node, home)
        if inner is not None and anchor.distance == 0 and self._is_loosened(anchor.node, home):
            return _block_of(anchor.node)
        if inner is None:
            doubts.append("the code around it stands in another block")
        elif inner is not anchor.node:
            doubts.append(f"the code beside it stands inside the block of line {inner.first}")
        return home

    @staticmethod
    def _beside(before: Anchor, after: Anchor, doubts: list[str]) -> tuple[Node, str]:
        """The block for a statement whose own block is new: that of its neighbours."""
        one, two = _block_of(before.node), _block_of(after.node)
        if one != two:
            near = before if before.distance <= after.distance else after
            doubts.append(f"the block around it is new; it stands beside line {near.node.first} there")
            return _block_of(near.node)
        return one

    def _is_loosened(self, node: Node, home: tuple[Node, str]) -> bool:
        """Whether a neighbour stands in a ``try`` or ``with`` that the new version took away."""
        assert node.parent is not None
        around = isinstance(node.parent.statement, (ast.Try, ast.With, ast.AsyncWith)) and node.field == "body"
        return around and self._within_new(node.parent, home)

    def _strays(self, shared: tuple[Node, str], home: tuple[Node, str]) -> bool:
        """Whether both neighbours moved together to a function that the new version does not have."""
        unit = shared[0] if shared[0].is_definition else shared[0].owner
        return unit not in self.origin

    def _within_new(self, node: Node, home: tuple[Node, str]) -> bool:
        """Whether a block lies in another one, with only blocks between that the new version lacks."""
        at: Node | None = node
        while at is not None and at.parent is not None:
            if at in self.origin or at.is_definition:
                return False
            if (at.parent, at.field) == home:
                return True
            at = at.parent
        return False


def _block_of(node: Node) -> tuple[Node, str]:
    assert node.parent is not None
    return node.parent, node.field


def _shared_block(one: Node, two: Node) -> tuple[Node, str] | None:
    """The innermost block that contains both, of one function."""
    if one.tree is not two.tree:
        return None
    for at in [one, *one.above()]:
        if at.parent is not None and climb(two, (at.parent, at.field)):
            return at.parent, at.field
    return None
