"""Which statements run a loop of ours, and whether any is run in a way that cannot be followed."""

from __future__ import annotations

import ast

from tracker.replay.calls import MODULES
from tracker.replay.inserted import head_parts
from tracker.replay.tree import Node


class Unknown(Exception):
    """The text of a program does not tell what was asked."""


def loop_name(node: Node) -> str | None:
    """The name of our loop that a ``for`` runs, ``None`` for other statements; ``Unknown`` for a computed name."""
    calls = _loop_calls(node)
    if not calls:
        return None
    name = calls[0].args[0]
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        raise Unknown("a loop whose name is computed")
    return name.value


def known_loop_name(node: Node) -> str | None:
    """The same; an empty text for a computed name."""
    try:
        return loop_name(node)
    except Unknown:
        return ""


def check_loops(node: Node) -> None:
    """``Unknown`` where a statement uses a loop of ours otherwise than in the head of one ``for``, or hands it on."""
    calls = _loop_calls(node)
    if calls:
        loop_name(node)
    if len(calls) > 1 or (calls and _yields(node)):
        raise Unknown("a loop that is handed on")
    expected = {id(call.func) for call in calls}
    for part in (part for top in head_parts(node) for part in ast.walk(top)):
        if id(part) not in expected and _names_loop(node, part):
            raise Unknown("a loop that is not a for statement's")


def _loop_calls(node: Node) -> list[ast.Call]:
    if not isinstance(node.statement, (ast.For, ast.AsyncFor)):
        return []
    found = (part for part in ast.walk(node.statement.iter) if isinstance(part, ast.Call))
    calls = node.tree.calls
    return [call for call in found if calls.passed_through(call) is not None and not calls.is_log(call)]


def _yields(node: Node) -> bool:
    return any(
        isinstance(part, (ast.Yield, ast.YieldFrom))
        for inner in node.below()
        if inner.owner is node.owner
        for top in head_parts(inner)
        for part in ast.walk(top)
    )


def _names_loop(node: Node, part: ast.AST) -> bool:
    """Whether an expression is ``tracker.loop``, or a name that stands for it."""
    if isinstance(part, ast.Name):
        return _imported(node).get(part.id) == "loop"
    if not isinstance(part, ast.Attribute) or part.attr != "loop" or not isinstance(part.value, ast.Name):
        return False
    return part.value.id in MODULES or _imported(node).get(part.value.id) == ""


def _imported(node: Node) -> dict[str, str]:
    """What a file imports from us by local name: a function's name, or nothing for the module itself."""
    root = node.tree.root
    known = root.__dict__.get("_ours")
    if known is None:
        known = root.__dict__["_ours"] = {}
        for statement in (other.statement for other in root.below()):
            if isinstance(statement, ast.Import):
                known.update({each.asname or each.name: "" for each in statement.names if each.name in MODULES})
            elif isinstance(statement, ast.ImportFrom) and statement.module in MODULES and not statement.level:
                known.update({each.asname or each.name: each.name for each in statement.names})
    assert isinstance(known, dict)
    return known
