"""Which statements of a probed version are new, found by laying the old syntax trees into the new ones."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tracker.replay.source import Source, Unparsable
from tracker.replay.tree import BLOCKS, Node, Tree


@dataclass(frozen=True)
class Changes:
    """Statements that are new, and statements whose own head differs (a log call was put around a part of it)."""

    new: list[Node] = field(default_factory=list)
    changed: list[Node] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """The literal names that the new log statements log, in order; patterns (see ``calls.matches``) left out."""
        found: dict[str, None] = {}
        for node in (*self.new, *self.changed):
            for call in head_calls(node):
                found.update(dict.fromkeys(name for name in node.tree.calls.names(call) or () if "\0" not in name))
        return tuple(found)


def find_changes(old: Mapping[str, str], probed: Mapping[str, str]) -> Changes | None:
    """What the files of ``probed`` have that those of ``old`` lack.

    ``None`` where more was done than to insert, or where a file cannot be read: then nothing is known.
    """
    found = Changes()
    for path, text in probed.items():
        try:
            new = Tree(Source(path, text))
            before = Tree(Source(path, old.get(path, "")))
        except Unparsable:
            return None
        embedding = _Embedding()
        if not embedding.fits(before.root, new.root):
            return None
        embedding.collect(before.root, new.root, found)
    return found


class _Embedding:
    """Old statements laid into new ones: in order, each block into the block of the same name."""

    def __init__(self) -> None:
        self._known: dict[tuple[Node, Node], bool] = {}

    def fits(self, old: Node, new: Node) -> bool:
        """Whether everything below the old statement is found below the new one."""
        key = (old, new)
        if key not in self._known:
            self._known[key] = all(
                self._pairs(block, new.blocks.get(name, ())) is not None for name, block in old.blocks.items()
            )
        return self._known[key]

    def _pairs(self, old: Sequence[Node], new: Sequence[Node]) -> list[tuple[Node, Node]] | None:
        """Each old statement with the first new one that it fits, behind that of its predecessor."""
        found = []
        at = 0
        for node in old:
            while at < len(new) and not (_alike(node, new[at]) and self.fits(node, new[at])):
                at += 1
            if at == len(new):
                return None
            found.append((node, new[at]))
            at += 1
        return found

    def collect(self, old: Node, new: Node, found: Changes) -> None:
        """Enter what is new below a statement."""
        for name, block in new.blocks.items():
            pairs = {after: before for before, after in self._pairs(old.blocks.get(name, ()), block) or ()}
            for node in block:
                if node not in pairs:
                    found.new.extend([node, *node.below()])
                    continue
                if _head(pairs[node]) != _head(node):
                    found.changed.append(node)
                self.collect(pairs[node], node, found)


def _alike(old: Node, new: Node) -> bool:
    return old.words == new.words and type(old.statement) is type(new.statement)


def _head(node: Node) -> str:
    return "\n".join(ast.dump(part) for part in head_parts(node))


def head_parts(node: Node) -> list[ast.AST]:
    """The syntax of a statement without its blocks."""
    found: list[ast.AST] = []
    for name, value in ast.iter_fields(node.statement) if node.statement is not None else ():
        if name in BLOCKS and isinstance(value, list):
            continue
        found += [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, ast.AST)]
    return found


def head_calls(node: Node) -> list[ast.Call]:
    """The calls in a statement's own head."""
    return [part for top in head_parts(node) for part in ast.walk(top) if isinstance(part, ast.Call)]
