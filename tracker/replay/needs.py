"""What else a probe needs: the backward slice of new statements, imports, helpers and constants."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from tracker.replay.definers import accepts
from tracker.replay.effects import body_effects, effects, overwritten
from tracker.replay.flow import Flow, flow, whole_flow
from tracker.replay.gap import Place
from tracker.replay.names import Names
from tracker.replay.place import Nowhere, Placer
from tracker.replay.tree import Node
from tracker.replay.world import World


class Slice:
    """The statements of the new version that one probe brings along, found by following names backwards.

    Raises ``Nowhere`` when something cannot be had in the old version. ``doubts`` are reported with the probe.
    """

    def __init__(self, world: World, moving: Iterable[Node]) -> None:
        self.world = world
        self.moving = set(moving)
        self.nodes: dict[Node, None] = {}
        self.files: dict[str, None] = {}
        self.imports: dict[Node, set[str]] = {}
        self.places: dict[Node, Place] = {}
        self.gaps: dict[Node, int] = {}
        self.wrapped: set[Node] = set()
        self.texts: dict[Node, str] = {}
        self.loose: set[Node] = set()
        self.guards: dict[Node, None] = {}
        self.doubts: list[str] = []
        self.names = Names(self)

    def add(self, node: Node, *, probe: bool = False, reads: Flow | None = None) -> None:
        """Take a statement, the new blocks around it, and all that they read."""
        if node in self.nodes:
            return
        self.nodes[node] = None
        self.moving.add(node)
        placer = Placer(self.world.alignment(node.tree.source.path), self.moving)
        root = placer.root(node)
        place = placer.place(root)
        around = [a for a in node.above() if a is root or a.inside(root)]
        for parent in around:
            if parent.is_definition:
                self._new_function(parent)
                return
        self.places[node] = place
        self.doubts += place.doubts
        self._check_kind(node, place)
        local = {name for parent in around for name in flow(parent).binds}
        for parent in reversed(around):
            self._take_head(parent, node, around, place, local)
        if not probe or node.logged:
            self._effects(node, place, probe=probe)
        self.names.resolve_all(reads or whole_flow(node), node, place, local)

    def _take_head(self, parent: Node, node: Node, around: list[Node], place: Place, local: set[str]) -> None:
        """A new block comes along when its head can be evaluated; an ``if`` or ``with`` that cannot is left out."""
        if parent in self.loose:
            return
        before = (dict(self.nodes), list(self.doubts), dict(self.imports), dict(self.places), dict(self.gaps))
        reason = ""
        try:
            self._effects(parent, place, head_only=True)
            self.names.resolve_all(flow(parent), parent, place, local)
            for clause in parent.blocks.get("handlers", []):
                if clause not in around:
                    self.names.resolve_all(whole_flow(clause), clause, place, local | flow(clause).binds)
        except Nowhere as exc:
            reason = str(exc)
        new_doubts = self.doubts[len(before[1]) :]
        optional = isinstance(parent.statement, (ast.If, ast.With, ast.AsyncWith))
        in_body = any(child in self.nodes or child in around for child in parent.blocks.get("body", []))
        if optional and in_body and (reason or new_doubts):
            self.nodes, self.doubts, self.imports, self.places, self.gaps = before
            self.loose.add(parent)
            self.doubts.append(f"its block of line {parent.first} is left out: {reason or new_doubts[0]}")
        elif reason:
            raise Nowhere(reason)
        elif any(n not in self.moving and n not in around for n in parent.below()):
            self.guards.setdefault(parent, None)

    def add_expression(self, node: Node, reads: Flow, image: Node) -> None:
        """Take a log call that is wrapped around a value of the old statement ``image``."""
        assert image.parent is not None
        self.nodes[node] = None
        self.wrapped.add(node)
        self.names.resolve_all(reads, node, Place(image.parent, image.field, image.index), set())

    def guard_doubts(self) -> list[str]:
        """New blocks that come along although they hold other new statements, which do not."""
        return [
            f"the new block of line {node.first} comes along without the other statements in it"
            for node in self.guards
            if any(n not in self.moving and not self._is_around(n) for n in node.below())
        ]

    def _is_around(self, node: Node) -> bool:
        return any(inner in self.nodes for inner in node.below())

    def _new_function(self, function: Node) -> None:
        """A probe in a function that the old version lacks: it comes with the new statements that call it."""
        name = function.name
        for effect in body_effects(function):
            raise Nowhere(f"the function `{name}` does not exist, and it is more than a log: it {effect}")
        self.add(function)
        callers = [
            n
            for n in function.tree.root.below()
            if n not in self.nodes
            and not n.is_definition
            and (name in flow(n).reads or f"self.{name}" in flow(n).reads)
            and not n.inside(function)
        ]
        image = self.world.alignment(function.tree.source.path).image
        if not callers or any(n in image for n in callers):
            raise Nowhere(f"the function `{name}` does not exist")
        for caller in callers:
            self.add(caller)

    def _check_kind(self, node: Node, place: Place) -> None:
        """Refuse what the old version could not run: an ``await`` outside a coroutine, arguments it does not take."""
        assert node.statement is not None
        if node.is_definition:
            return
        waits = any(isinstance(part, (ast.Await, ast.AsyncFor, ast.AsyncWith)) for part in ast.walk(node.statement))
        if waits and not isinstance(place.unit.statement, ast.AsyncFunctionDef):
            raise Nowhere(f"line {node.first} awaits, and the function there is not async")

        bound = self.world.old.scopes(place.parent.tree).bound(place.parent.tree.root)
        for part in ast.walk(node.statement):
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
                for function in bound.get(part.func.id, []):
                    if not accepts(function, part):
                        raise Nowhere(f"`{part.func.id}` there does not take these arguments")

    def _effects(self, node: Node, place: Place, *, probe: bool = False, head_only: bool = False) -> None:
        if node.is_import:
            return
        found = list(effects(node)) if not head_only else [e for e in effects(node) if e.startswith("iterates")]
        where = "the statement" if probe else f"line {node.first}, which comes along,"
        self.doubts += [f"{where} {effect}" for effect in dict.fromkeys(found)]
        if not probe and not node.is_definition:
            there = set(self.world.old.scopes(place.parent.tree).bound(place.unit))
            names = [
                name
                for name in overwritten(node, there, head_only=head_only)
                if name not in self.names.renames.get(node, {})
            ]
            self.doubts += [f"{where} changes `{name}`" for name in names]
