"""What the names in a statement are called in an old version, or what must come along to define them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tracker.replay.calls import MODULES
from tracker.replay.definers import definers, is_member, option_of
from tracker.replay.effects import body_effects
from tracker.replay.flow import BUILTINS, Flow, flow
from tracker.replay.gap import Place
from tracker.replay.modules import Modules
from tracker.replay.place import Nowhere
from tracker.replay.similarity import is_close
from tracker.replay.tree import Node

if TYPE_CHECKING:
    from tracker.replay.needs import Slice


class Names:
    """Resolves names for one slice: as they are, by their old name, or by bringing what defines them."""

    def __init__(self, owner: Slice) -> None:
        self.slice = owner
        self.world = owner.world
        self.renames: dict[Node, dict[str, str]] = {}
        self._modules = Modules(self)

    def resolve_all(self, reads: Flow, node: Node, place: Place, local: set[str]) -> None:
        for name in sorted(reads.reads, key=lambda n: n in ("self", "cls")):
            if name in ("self", "cls") and self._without_self(reads, node):
                continue
            if name not in local and not (name.startswith(("self.", "cls.")) and name.split(".")[0] in local):
                self._resolve(name, node, place)
        for base, attribute in reads.attributes:
            self._attribute(base, attribute, node, place)
        for base, key in reads.items:
            if base not in local and key not in self.world.old_words and not self._is_new(base, node):
                self.slice.doubts.append(f"`{base}[{key!r}]` is read, which the old version never mentions")

    def _is_new(self, name: str, node: Node) -> bool:
        return any(name in flow(n).binds for n in self.slice.nodes if n is not node)

    def _resolve(self, name: str, node: Node, place: Place) -> None:
        """Make sure that a name has its value at the place: as it is, by its old name, or by what defines it."""
        old = self.world.old.scopes(place.parent.tree)
        renames = self.world.renames(node.tree.source.path)
        at = sys.maxsize if node.is_definition else place.at
        unit = node if node.is_function else node.owner
        if name in BUILTINS and not definers(self.world, name, node)[1]:
            return

        def visible(text: str) -> bool:
            return old.visible(text, place.unit, at)

        sure = renames.certain(name, unit)
        if sure is not None and all(visible(part) for part in _parts(sure)):
            self._rename(node, name, sure)
            return
        if visible(name) and not self._means_something_else(name, node, place):
            return
        if self._same_import(name, node, place):
            return
        if self._later(name, node, place):
            return
        own = dict(renames.candidates(name, unit)).get(name, 0)
        for candidate, votes in renames.candidates(name, unit):
            known = candidate in self.world.new.scopes(node.tree).bound(node.owner)  # it has a meaning of its own
            if (
                candidate != name
                and votes > max(own, 1)
                and not known
                and all(visible(part) for part in _parts(candidate))
            ):
                self._rename(node, name, candidate)
                return
        self._define(name, node)

    def _later(self, name: str, node: Node, place: Place) -> bool:
        """Move the place behind the statement of its block that gives the name its value."""
        scopes = self.world.old.scopes(place.parent.tree)
        image = self.world.alignment(node.tree.source.path).image
        sources = {image.get(n) for n in definers(self.world, name, node)[1]}
        for bound in scopes.bound(place.unit).get(name, []):
            at = bound
            while at is not place.unit and (at.parent is not place.parent or at.field != place.field) and at.parent:
                at = at.parent
            if at.parent is place.parent and at.index >= place.gap and (bound in sources or at.index < place.most):
                if at.index >= place.most:
                    self.slice.doubts.append(f"`{name}` gets its value only in line {bound.first} there")
                self.slice.gaps[node] = max(at.index + 1, self.slice.gaps.get(node, 0))
                return True
        return False

    def _rename(self, node: Node, new: str, old: str) -> None:
        self.renames.setdefault(node, {})[new] = old

    def _means_something_else(self, name: str, node: Node, place: Place) -> bool:
        """Whether an imported name stands for another thing in the old version."""
        here = self.world.new.scopes(node.tree).imports().get(name)
        there = self.world.old.scopes(place.parent.tree).imports().get(name)
        if here is None or (
            name in self.world.new.scopes(node.tree).bound(node.owner) and here[1].owner is not node.owner
        ):
            return False
        if there is None:
            bound = self.world.old.scopes(place.parent.tree).bound(place.parent.tree.root).get(name, [])
            return bool(bound) and here[0].split(".")[0] in MODULES
        return here[0].split(".")[0] in MODULES and there[0] != here[0]

    def _same_import(self, name: str, node: Node, place: Place) -> bool:
        """Use the old version's own name for what the new one imports under another."""
        here = self.world.new.scopes(node.tree).imports().get(name)
        if here is None:
            return False
        scopes = self.world.old.scopes(place.parent.tree)
        for local, (meaning, _) in scopes.imports().items():
            if meaning == here[0] and local != name and scopes.visible(local, place.unit, place.at):
                self._rename(node, name, local)
                return True
        if not self._means_something_else(name, node, place):
            return False
        module, _, function = here[0].rpartition(".")
        if module not in MODULES:
            raise Nowhere(f"`{name}` is something else there")
        self._rename(node, name, f"{module}.{function}")
        if not scopes.visible(module, place.unit, place.at):
            self.slice.texts[here[1]] = f"import {module}"
            self.slice.add(here[1])
        return True

    def _define(self, name: str, node: Node) -> None:
        """Bring the new statements that give a name its value."""
        scope, nodes = definers(self.world, name, node)
        if scope is None:
            if name not in self.world.old_words and not name.startswith(("self.", "cls.")):
                self.slice.doubts.append(f"nothing in the file defines `{name}`")
            return
        if scope in nodes:
            raise Nowhere(f"`{name}` is a parameter of `{scope.name}` that does not exist there")
        image = self.world.alignment(node.tree.source.path).image
        fresh = [n for n in nodes if n not in image or n.is_import or not is_close(n, image[n])]
        bare = name.split(".")[-1]
        if not any(name in flow(n).binds or n.name == bare or node.is_definition for n in fresh):
            raise Nowhere(f"`{name}` is computed in line {nodes[0].first} by a statement that is different there")
        for definer in fresh:
            self.bring(name, definer)

    def bring(self, name: str, definer: Node) -> None:
        if definer.is_import:
            self.slice.imports.setdefault(definer, set()).add(name)
            self._modules.take(name, definer)
        elif definer.is_function and definer not in self.slice.nodes:
            found = dict.fromkeys(body_effects(definer))
            self.slice.doubts += [f"`{definer.name}`, which comes along, {effect}" for effect in found]
        self.slice.add(definer)

    def _without_self(self, reads: Flow, node: Node) -> bool:
        """Whether every ``self.x`` of a statement has become a plain name."""
        renamed = self.renames.get(node, {})
        dotted = [name for name in reads.reads if name.startswith(("self.", "cls."))]
        return bool(dotted) and all(name in renamed and "." not in renamed[name] for name in dotted)

    def _attribute(self, base: str, attribute: str, node: Node, place: Place) -> None:
        """An attribute that the old version never mentions and that the project itself defines."""
        if attribute in self.world.old_words:
            return
        option = "--" + attribute.replace("_", "-")
        for other in node.tree.root.below():
            if other in self.slice.nodes or other in self.world.alignment(node.tree.source.path).image:
                continue
            if attribute in option_of(other, option) or is_member(other, attribute):
                self.slice.add(other)


def _parts(name: str) -> list[str]:
    """What must be visible for a name: ``self.x`` as a whole, of ``args.lr`` the ``args``."""
    return [name] if name.startswith(("self.", "cls.")) else [name.split(".")[0]]
