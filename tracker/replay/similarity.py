"""How alike two statements are."""

from __future__ import annotations

import ast

from tracker.replay.tree import LOOPS, Node

ALIKE = 0.5  # below this two statements have nothing to do with each other
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)
_TRIVIAL = (ast.Pass, ast.Break, ast.Continue, ast.Return, ast.Try)


def dice(one: frozenset[object], two: frozenset[object]) -> float:
    """Shared share of two sets, 0 to 1."""
    total = len(one) + len(two)
    return 2 * len(one & two) / total if total else 1.0


def kind(node: Node) -> type:
    """Node types that may stand for each other count as one."""
    if isinstance(node.statement, LOOPS):
        return ast.For
    if isinstance(node.statement, _ASSIGNMENTS):
        return ast.Assign
    if isinstance(node.statement, ast.AsyncWith):
        return ast.With
    if isinstance(node.statement, ast.AsyncFunctionDef):
        return ast.FunctionDef
    return type(node.statement)


def score(new: Node, old: Node) -> float:
    """0 to 1.2: how much speaks for the two being one statement in two versions; below ``ALIKE`` nothing does."""
    base = _equal(new, old) if new.key == old.key else _similar(new, old)
    return base + _surroundings(new, old) if base >= ALIKE else 0.0


def _equal(new: Node, old: Node) -> float:
    if new.blocks and not isinstance(new.statement, LOOPS) and not new.name and not _share_content(new, old):
        return 0.55 if len(new.words) >= 4 else 0.0  # the same condition, perhaps around something else
    return 0.7 if isinstance(new.statement, _TRIVIAL) else 1.0


def _share_content(new: Node, old: Node) -> bool:
    return not new.inner_shapes.isdisjoint(old.inner_shapes)


def _similar(new: Node, old: Node) -> float:
    if kind(new) is not kind(old) or new.logged != old.logged:
        return 0.0
    alike = dice(new.bag, old.bag)
    if new.shape == old.shape:
        alike = min(1.0, alike + 0.25)
    if new.blocks:
        alike = 0.55 * alike + 0.45 * dice(new.inner_shapes, old.inner_shapes)
        if isinstance(new.statement, LOOPS) and _share_content(new, old):
            alike += 0.15
    return 0.95 * alike


def _surroundings(new: Node, old: Node) -> float:
    if new.parent is None or old.parent is None:
        return 0.0
    same_parent = new.parent.key == old.parent.key and new.field == old.field
    return (0.12 if same_parent else 0.0) + (0.05 if new.owner.name == old.owner.name else 0.0)


def is_content(word: str) -> bool:
    """Whether a word of a fingerprint is the author's own: a name, a constant, an attribute, a keyword."""
    return word[0] in ".=" or word[1:2] == ":"


def is_close(new: Node, old: Node) -> bool:
    """Whether two matched statements share half of their own words; blocks are matched by what is in them."""
    words = [frozenset(word for word in node.words if is_content(word)) for node in (new, old)]
    return bool(new.blocks) or dice(words[0], words[1]) >= 0.5
