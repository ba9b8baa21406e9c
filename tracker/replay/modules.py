"""Modules of the project itself that a slice imports."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tracker.replay.flow import imported
from tracker.replay.tree import Node

if TYPE_CHECKING:
    from tracker.replay.names import Names


class Modules:
    """Sees to it that what is imported from the project is there in the old version, too."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.world = names.world
        self.files = names.slice.files

    def take(self, name: str, node: Node) -> None:
        """What is imported from the project itself must be there in the old version, too."""
        for local, meaning in imported(node):
            if local != name:
                continue
            module, _, member = meaning.rpartition(".")
            path = node.tree.source.path
            if isinstance(node.statement, ast.ImportFrom):
                target = self.world.new.module(module or meaning, path)
                whole = self.world.new.module(meaning, path)
                if whole and (target is None or member not in self._members(target)):
                    self._file(whole)
                elif target:
                    self._member(target, member)
            elif (target := self.world.new.module(meaning, path)) is not None:
                self._file(target)

    def _members(self, path: str) -> dict[str, list[Node]]:
        tree = self.world.new.tree(path)
        return self.world.new.scopes(tree).bound(tree.root)

    def _member(self, path: str, name: str) -> None:
        if path not in self.world.old.sources:
            self._file(path)
            return
        there = self.world.old.tree(path)
        if name in self.world.old.scopes(there).bound(there.root):
            return
        for definer in self._members(path).get(name, []):
            self.names.bring(name, definer)

    def _file(self, path: str) -> None:
        """A whole module that the old version lacks."""
        if path in self.world.old.sources or path in self.files:
            return
        self.files[path] = None
        for node in self.world.new.tree(path).root.below():
            if node.is_import:
                for local, _ in imported(node):
                    self.take(local, node)
