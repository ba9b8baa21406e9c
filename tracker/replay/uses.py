"""What a statement does with a function that it names: calls it, or hands it on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tracker.replay.inserted import head_parts
from tracker.replay.loops import Unknown
from tracker.replay.tree import FUNCTIONS, Node

_CONSUMERS = {"sum", "max", "min", "all", "any", "list", "tuple", "set", "dict", "sorted", "join", "frozenset"}


@dataclass(frozen=True)
class Call:
    """A place where a function is called: the statement, and whether that is the iterable of a ``for``."""

    node: Node
    feeds_loop: bool = False


class Seer:
    """Looks at one statement's head for uses of some names."""

    def __init__(
        self,
        node: Node,
        names: set[str],
        modules: set[str],
        *,
        attributes: bool,
        is_property: bool = False,
        is_class: bool = False,
    ) -> None:
        self.node, self.names, self.modules = node, names, modules
        self.attributes, self.is_property, self.is_class = attributes, is_property, is_class
        self.bare = not attributes

    def look(self, target: Node) -> Iterator[Call]:
        """The calls of the target; ``Unknown`` for a use that hands it on."""
        found: list[tuple[ast.AST, list[ast.AST]]] = []
        for top in head_parts(self.node):
            found += [(use, above) for use, above in _walk(top, []) if self._is_use(use)]
        for use, above in found:
            call = self._judge(target, use, above)
            if call is not None:
                yield call

    def _is_use(self, use: ast.AST) -> bool:
        if isinstance(use, ast.Name):
            return self.bare and use.id in self.names
        if isinstance(use, ast.Attribute):
            return use.attr in self.names and (self.attributes or _root(use) in self.modules)
        return False

    def _judge(self, target: Node, use: ast.AST, above: list[ast.AST]) -> Call | None:
        parent = above[-1] if above else self.node.statement
        if any(isinstance(each, ast.Lambda) for each in above) or _is_lazy(above):
            raise Unknown(target.name)
        if isinstance(parent, ast.Call) and parent.func is use:
            return self._called(target, parent, above[:-1])
        if self.is_property or _decorates(self.node, use):
            return Call(self.node)
        if self.is_class and self._is_harmless(use, above):
            return None
        raise Unknown(target.name)

    def _called(self, target: Node, call: ast.Call, above: list[ast.AST]) -> Call:
        statement = self.node.statement
        if isinstance(target.statement, ast.AsyncFunctionDef) and not (above and isinstance(above[-1], ast.Await)):
            raise Unknown(target.name)
        if self.is_class or not _is_generator(target):
            return Call(self.node)
        if "contextmanager" in decorators(target) and isinstance(statement, (ast.With, ast.AsyncWith)):
            if any(item.context_expr is call for item in statement.items):
                return Call(self.node)
        elif isinstance(statement, ast.For) and call in list(ast.walk(statement.iter)):
            return Call(self.node, feeds_loop=True)
        raise Unknown(target.name)

    def _is_harmless(self, use: ast.AST, above: list[ast.AST]) -> bool:
        """Whether a class is only named: as a base, in an annotation or a check of types."""
        statement = self.node.statement
        if isinstance(statement, (ast.ClassDef, ast.ExceptHandler)):
            return True
        checks = [each for each in above if isinstance(each, ast.Call)]
        if any(isinstance(each.func, ast.Name) and each.func.id in ("isinstance", "issubclass") for each in checks):
            return True
        annotations = [statement.annotation] if isinstance(statement, ast.AnnAssign) else []
        if isinstance(statement, FUNCTIONS):
            args = statement.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
            annotations += [each.annotation for each in every if each is not None and each.annotation is not None]
            annotations += [statement.returns] if statement.returns is not None else []
        return any(use is part for annotation in annotations for part in ast.walk(annotation))


def _walk(node: ast.AST, above: list[ast.AST]) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    yield node, above
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, [*above, node])


def _is_lazy(above: list[ast.AST]) -> bool:
    """Whether a generator expression puts the use off to another place."""
    for outer, inner in zip([None, *above], above, strict=False):
        if isinstance(inner, ast.GeneratorExp):
            consumer = getattr(outer, "func", None)
            name = getattr(consumer, "id", None) or getattr(consumer, "attr", None)
            if name not in _CONSUMERS:
                return True
    return False


def _decorates(node: Node, use: ast.AST) -> bool:
    return any(use is decorator for decorator in getattr(node.statement, "decorator_list", ()))


def decorators(function: Node) -> set[str]:
    """The last part of the names of a function's decorators."""
    found = set()
    for each in getattr(function.statement, "decorator_list", ()):
        part = each.func if isinstance(each, ast.Call) else each
        found.add(part.attr if isinstance(part, ast.Attribute) else part.id if isinstance(part, ast.Name) else "?")
    return found


def _is_generator(function: Node) -> bool:
    own = (
        part
        for node in function.atoms()
        if not node.is_definition
        for top in head_parts(node)
        for part in ast.walk(top)
    )
    return any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in own)


def _root(attribute: ast.Attribute) -> str:
    value: ast.AST = attribute.value
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""
