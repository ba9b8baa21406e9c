"""Which names a statement binds, changes and reads."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tracker.replay.tree import BLOCKS, Node

BUILTINS = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__", "__spec__"}
_SELF = frozenset({"self", "cls"})
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(slots=True)
class Flow:
    """Names of one statement without its blocks; ``self.x`` counts as a name of its own.

    ``binds``: names that have a value afterwards. ``changes``: names whose object may have been changed in place.
    ``reads``: names that must have a value before. ``attributes``: (name, attribute) pairs that are read.
    ``items``: constant keys that are looked up in a name.
    """

    binds: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    reads: dict[str, None] = field(default_factory=dict)  # a dict, because order makes results repeatable
    attributes: dict[tuple[str, str], None] = field(default_factory=dict)
    items: dict[tuple[str, str], None] = field(default_factory=dict)


def flow(node: Node) -> Flow:
    """The flow of a node's own head, computed once."""
    cached = node.__dict__.get("_flow")
    if cached is None:
        cached = node.__dict__["_flow"] = _Reader().head(node.statement)
    assert isinstance(cached, Flow)
    return cached


def expression_flow(expressions: Iterable[ast.AST]) -> Flow:
    """The flow of expressions on their own."""
    reader = _Reader()
    for expression in expressions:
        reader.visit(expression, frozenset())
    return reader.out


def whole_flow(node: Node) -> Flow:
    """The flow of a statement with everything in it; locals of functions do not show."""
    own = flow(node)
    out = Flow(set(own.binds), set(own.changes), dict(own.reads), dict(own.attributes), dict(own.items))
    inner = [whole_flow(child) for child in node.children()]
    local = parameters(node) if node.is_function else set()
    if node.is_definition:
        local |= {name for part in inner for name in part.binds if "." not in name}
    for part in inner:
        out.reads.update((name, None) for name in part.reads if "." in name or name not in local)
        out.attributes.update((pair, None) for pair in part.attributes if pair[0] not in local)
        out.items.update((pair, None) for pair in part.items if pair[0] not in local)
        out.changes |= {name for name in part.changes if name.split(".")[0] not in local}
        out.binds |= {name for name in part.binds if not node.is_definition or "." in name}
    return out


def parameters(node: Node) -> set[str]:
    """The parameters of a function; none for other nodes."""
    if not isinstance(node.statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return set()
    args = node.statement.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *(a for a in (args.vararg, args.kwarg) if a)]
    return {arg.arg for arg in every}


def imported(node: Node) -> Iterator[tuple[str, str]]:
    """For an import: each local name and what it stands for, as a dotted path."""
    if isinstance(node.statement, ast.Import):
        for alias in node.statement.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
    elif isinstance(node.statement, ast.ImportFrom):
        origin = "." * node.statement.level + (node.statement.module or "")
        for alias in node.statement.names:
            yield alias.asname or alias.name, f"{origin}.{alias.name}"


class _Reader:
    """Walks expressions; names that a comprehension or lambda binds stay inside it."""

    def __init__(self) -> None:
        self.out = Flow()

    def head(self, statement: ast.AST | None) -> Flow:
        if statement is None:
            return self.out
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self.out.binds.add(statement.name)
            self._definition(statement)
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            self.out.binds.update(a.asname or a.name.split(".")[0] for a in statement.names)
        else:
            self._plain(statement)
        return self.out

    def _definition(self, statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        parts: list[ast.AST | None] = list(statement.decorator_list)
        if isinstance(statement, ast.ClassDef):
            parts += [*statement.bases, *(k.value for k in statement.keywords)]
        else:
            args = statement.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
            parts += [*args.defaults, *args.kw_defaults, statement.returns, *(a.annotation for a in every if a)]
        for part in parts:
            if part is not None:
                self.visit(part, frozenset())

    def _plain(self, statement: ast.AST) -> None:
        if isinstance(statement, ast.AugAssign):
            self.out.changes.update(_targets(statement.target))
            self.visit(_loaded(statement.target), frozenset())
        if isinstance(statement, ast.ExceptHandler) and statement.name:
            self.out.binds.add(statement.name)
        if isinstance(statement, (ast.Global, ast.Nonlocal)):
            self.out.binds.update(statement.names)
        if isinstance(statement, ast.Expr):
            self.out.changes.update(_receivers(statement.value))
        for name, value in ast.iter_fields(statement):
            if name not in BLOCKS:
                for part in value if isinstance(value, list) else [value]:
                    if isinstance(part, ast.AST):
                        self.visit(part, frozenset())

    def visit(self, node: ast.AST, local: frozenset[str]) -> None:
        if isinstance(node, ast.Name):
            self._name(node.id, node.ctx, local)
        elif isinstance(node, ast.Attribute):
            self._attribute(node, local)
        elif isinstance(node, ast.Subscript):
            self._subscript(node, local)
        elif isinstance(node, ast.Lambda):
            args = node.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *(a for a in (args.vararg, args.kwarg) if a)]
            for default in (*args.defaults, *(d for d in args.kw_defaults if d)):
                self.visit(default, local)
            self.visit(node.body, local | {a.arg for a in every})
        elif isinstance(node, _COMPREHENSIONS):
            inner = local | {n for g in node.generators for n in _targets(g.target)}
            for child in ast.iter_child_nodes(node):
                self.visit(child, inner)
        elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            self.out.binds.add(node.name)
            self._below(node, local)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            self.out.binds.add(node.rest)
            self._below(node, local)
        else:
            self._below(node, local)

    def _below(self, node: ast.AST, local: frozenset[str]) -> None:
        for child in ast.iter_child_nodes(node):
            self.visit(child, local)

    def _name(self, name: str, context: ast.expr_context, local: frozenset[str]) -> None:
        if name in local:
            return
        if isinstance(context, ast.Store):
            self.out.binds.add(name)
        else:
            self.out.reads[name] = None

    def _attribute(self, node: ast.Attribute, local: frozenset[str]) -> None:
        stored = isinstance(node.ctx, ast.Store)
        if isinstance(node.value, ast.Name) and node.value.id not in local:
            base = node.value.id
            if base in _SELF:
                (self.out.binds.add if stored else self.out.reads.setdefault)(f"{base}.{node.attr}")
            elif stored:
                self.out.changes.add(base)
            else:
                self.out.attributes[base, node.attr] = None
        self.visit(node.value, local)

    def _subscript(self, node: ast.Subscript, local: frozenset[str]) -> None:
        base = dotted(node.value)
        if base and base not in local:
            if not isinstance(node.ctx, ast.Load):
                self.out.changes.add(base)
            elif isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                self.out.items[base, node.slice.value] = None
        self._below(node, local)


def dotted(node: ast.AST) -> str:
    """``x`` or ``self.x`` as text; empty for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in _SELF:
        return f"{node.value.id}.{node.attr}"
    return ""


def _targets(target: ast.AST) -> set[str]:
    found = {n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return found | ({dotted(target)} - {""})


def _loaded(target: ast.expr) -> ast.expr:
    """The target of ``x += 1`` as an expression that is read."""
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Attribute):
        return ast.Attribute(target.value, target.attr, ast.Load())
    return target


def _receivers(call: ast.AST) -> set[str]:
    """``x`` of ``x.method(…)``: the call may change it."""
    if isinstance(call, ast.Await):
        call = call.value
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        return {dotted(call.func.value)} - {""}
    return set()
