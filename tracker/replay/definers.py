"""Which statements give a name, an attribute or an option its value."""

from __future__ import annotations

import ast

from tracker.replay.flow import flow, parameters
from tracker.replay.scope import enclosing_class
from tracker.replay.tree import Node
from tracker.replay.world import World


def definers(world: World, name: str, node: Node) -> tuple[Node | None, list[Node]]:
    """The scope that a name belongs to and the statements that give it the value it has at a node."""
    scopes = world.new.scopes(node.tree)
    if name.startswith(("self.", "cls.")):
        owner = enclosing_class(node.owner if not node.is_definition else node)
        if owner is None:
            return None, []
        nodes = scopes.attributes(owner).get("self." + name.split(".")[1], [])
        changing = [n for n in owner.below() if name in flow(n).changes and n not in nodes and n is not node]
        return (owner, nodes + changing) if nodes else (None, [])
    for depth, scope in enumerate([node.owner, *(n for n in node.owner.above() if n.is_definition)]):
        if depth and scope.statement is not None and not scope.is_function:
            continue
        nodes = [n for n in scopes.bound(scope).get(name, []) if n is not node]
        if nodes:
            if scope is node.owner and scope in nodes:
                return scope, [scope]
            changing = [n for n in scope.atoms() if name in flow(n).changes and n is not node]
            both = {n: None for n in sorted({*nodes, *changing}, key=lambda n: (n.first, n.index))}
            return scope, _reaching(name, node, list(both))
    return None, []


def _reaching(name: str, node: Node, nodes: list[Node]) -> list[Node]:
    """Of the statements that bind or change a name those whose effect a node can see.

    When one before it in its block, or in a block around, sets the name anew, only what follows that one counts.
    """
    at: Node | None = node
    while at is not None and at.parent is not None and not at.is_definition:
        for sibling in at.block[: at.index][::-1]:
            fresh = name in flow(sibling).binds and not sibling.blocks and name not in flow(sibling).changes
            if fresh and sibling in nodes:
                return [
                    n
                    for n in nodes
                    if (sibling.first <= n.first and (n.first, n.index) < (node.first, node.index)) or n is sibling
                ]
        at = at.parent
        if at is not None and at in nodes and at.blocks and not at.is_definition:
            return [n for n in nodes if at.first <= n.first < node.first]
    return nodes


def option_of(node: Node, option: str) -> list[str]:
    """The attribute that an ``add_argument`` statement of this option makes."""
    value = getattr(node.statement, "value", None)
    if not (
        isinstance(node.statement, ast.Expr) and isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute)
    ):
        return []
    if value.func.attr != "add_argument":
        return []
    texts = [a.value for a in value.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return [option[2:].replace("-", "_")] if any(t.replace("_", "-") == option for t in texts) else []


def is_member(node: Node, attribute: str) -> bool:
    """Whether a statement defines an attribute of a class: a method, a field, an assignment to ``self``."""
    in_class = node.owner.statement is not None and not node.owner.is_function
    names = flow(node).binds
    return (in_class and attribute in names) or f"self.{attribute}" in names


def accepts(function: Node, call: ast.Call) -> bool:
    """Whether a function of the old version takes the arguments of a call."""
    if not isinstance(function.statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return True
    args = function.statement.args
    known = parameters(function)
    if any(k.arg is not None and k.arg not in known for k in call.keywords) and args.kwarg is None:
        return False
    return args.vararg is not None or len(call.args) <= len(args.posonlyargs) + len(args.args)
