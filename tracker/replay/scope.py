"""Which names have a value at a place of an old version."""

from __future__ import annotations

from functools import cached_property

from tracker.replay.flow import BUILTINS, flow, imported, parameters
from tracker.replay.tree import Node, Tree


class Scopes:
    """The bindings of one tree, per definition, computed when asked for."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._bound: dict[Node, dict[str, list[Node]]] = {}
        self._attributes: dict[Node, dict[str, list[Node]]] = {}

    def bound(self, unit: Node) -> dict[str, list[Node]]:
        """Names bound in a definition's own scope, each with the statements that bind it, in order."""
        if unit not in self._bound:
            table: dict[str, list[Node]] = {name: [unit] for name in parameters(unit)}
            for node in unit.atoms():
                for name in flow(node).binds:
                    table.setdefault(name, []).append(node)
            self._bound[unit] = table
        return self._bound[unit]

    def attributes(self, owner: Node) -> dict[str, list[Node]]:
        """``self.x`` names of a class: assigned in a method, or defined in its body."""
        if owner not in self._attributes:
            table: dict[str, list[Node]] = {}
            for node in owner.below():
                for name in flow(node).binds:
                    key = f"self.{name}" if node.owner is owner else name
                    if key.startswith(("self.", "cls.")):
                        table.setdefault("self." + key.split(".")[1], []).append(node)
            self._attributes[owner] = table
        return self._attributes[owner]

    def imports(self) -> dict[str, tuple[str, Node]]:
        """Every imported local name of the file with its meaning."""
        found: dict[str, tuple[str, Node]] = {}
        for node in self.tree.root.below():
            if node.is_import:
                for name, meaning in imported(node):
                    found.setdefault(name, (meaning, node))
        return found

    @cached_property
    def has_star(self) -> bool:
        """Whether the module imports everything of another: then a name it mentions may come from there."""
        return "*" in self.imports()

    def visible(self, name: str, unit: Node, at: int) -> bool:
        """Whether a name has a value in a scope just before a place in the order of the tree.

        Other scopes than the innermost count as a whole: a function runs after its module was read.
        """
        if name.startswith(("self.", "cls.")):
            return self._has_attribute(name, unit)
        for depth, scope in enumerate([unit, *(n for n in unit.above() if n.is_definition)]):
            if depth and scope.statement is not None and not scope.is_function:
                continue  # a method does not see the names of its class
            nodes = self.bound(scope).get(name)
            if nodes:
                if depth or any(node is unit or node.at < at for node in nodes):
                    return True
                if scope.is_function:
                    return False  # local, but bound only later
        return name in BUILTINS or (self.has_star and name in self.tree.source.words)

    def _has_attribute(self, name: str, unit: Node) -> bool:
        """Assigned in the class, or read elsewhere in it: then a base class has it."""
        owner = enclosing_class(unit)
        return owner is not None and (
            "self." + name.split(".")[1] in self.attributes(owner) or any(name in flow(n).reads for n in owner.below())
        )


def enclosing_class(unit: Node) -> Node | None:
    """The class around a method."""
    for node in [unit, *unit.above()]:
        if node.statement is not None and node.is_definition and not node.is_function:
            return node
    return None
