"""Which blocks probes lie in, so that all the others can be skipped: a static look at who calls whom.

Wherever names do not tell, the answer is that everything must run. That costs time; a block that was skipped with a
probe in it would cost the answer.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from tracker.replay.carried import Needs, find_needs, reads_passing, registered
from tracker.replay.inserted import Changes, head_calls, head_parts
from tracker.replay.loops import Unknown, check_loops, known_loop_name, loop_name
from tracker.replay.references import References
from tracker.replay.tree import Node

_NO_NEEDS = Needs()


@dataclass(frozen=True)
class Reach:
    """Where probes run. The default says that nothing is known: then everything must run.

    ``run_blocks``: nested loops in which they do; ``None``: it may be any. ``inside``: in iterations of the
    checkpointed loop, in or outside of blocks. ``outside``: before or after that loop. ``needs``: what they read of the
    state that blocks leave; ``None``: they keep a state of their own from iteration to iteration, which no checkpoint
    holds, so that only a whole run can answer.
    """

    run_blocks: tuple[str, ...] | None = None
    inside: bool = True
    outside: bool = True
    needs: Needs | None = _NO_NEEDS


def find_reach(sources: Mapping[str, str], changes: Changes, loop: str) -> Reach:
    """Where the new statements of a probed version run, relative to the loop of this name. Pure.

    ``sources`` are all files of the version with the probes in it.
    """
    references = References(sources)
    walk = _Walk(references, loop)
    probes = [node for node in (*changes.new, *changes.changed) if not node.is_definition and not node.is_import]
    needs = find_needs(probes, changes.new, loop, known_loop_name)
    if needs is not None:
        trees = (references.version.tree(path) for path in references.mentioning("checkpointing"))
        needs = needs.without(registered([node for tree in trees for node in tree.root.below()]))
    try:
        walk.check_loops()
        for node in probes:
            _check_statement(node)
            own = _Walk(references, loop)
            own.from_statement(own.same(node), None, logs=_logs(node))
            if reads_passing(node) and (own.outside or None in own.inside):
                raise Unknown("what no checkpoint holds")
            walk.add(own)
    except Unknown:
        return Reach(needs=needs)
    blocks = tuple(sorted(block for block in walk.inside if block is not None))
    return Reach(blocks, bool(walk.inside), walk.outside, needs)


def _logs(node: Node) -> bool:
    """Whether a statement itself logs, or calls what might."""
    return bool(head_calls(node))


def _check_statement(node: Node) -> None:
    """``Unknown`` for a probe that runs at another time than its statement, or that changes the loops."""
    for top in head_parts(node):
        for part in ast.walk(top):
            if isinstance(part, (ast.Lambda, ast.GeneratorExp)) and any(
                node.tree.calls.is_log(inner) for inner in ast.walk(part)
            ):
                raise Unknown("a log call in a lambda or generator")
    if loop_name(node) is not None:
        raise Unknown("a new loop")


class _Walk:
    """Goes from statements outwards, through the loops around them and the callers of their functions.

    ``inside``: the blocks that were met, ``None`` for the body of the checkpointed loop itself.
    """

    def __init__(self, references: References, loop: str) -> None:
        self.references, self.loop = references, loop
        self.inside: set[str | None] = set()
        self.outside = False
        self._seen: set[tuple[Node, str | None, bool]] = set()

    def add(self, other: _Walk) -> None:
        """Take over what another walk met."""
        self.inside |= other.inside
        self.outside = self.outside or other.outside

    def same(self, node: Node) -> Node:
        """The node of our own tree for one of another tree of the same text."""
        return self.references.version.tree(node.tree.source.path).order[node.at]

    def check_loops(self) -> None:
        """``Unknown`` where a loop of ours is used otherwise than in the head of a ``for``."""
        for path in self.references.mentioning("loop"):
            for node in self.references.version.tree(path).root.below():
                check_loops(node)

    def from_statement(self, node: Node, block: str | None, *, logs: bool = True) -> None:
        """Follow one statement outwards; ``block`` is the outermost loop of ours that was met so far."""
        child = node
        for parent in node.above():
            if parent.is_function:
                self._from_function(parent, block, logs=logs)
                return
            name = loop_name(parent) if child.field == "body" else None
            if name == self.loop:
                self.inside.add(block)
                return
            block = block if name is None else name
            child = parent
        self._from_module(child if child.parent is None else child.tree.root, logs=logs)

    def _from_function(self, function: Node, block: str | None, *, logs: bool) -> None:
        if (function, block, logs) in self._seen:
            return
        self._seen.add((function, block, logs))
        if self._holds_loop(function):
            self.outside = self.outside or logs  # around the loop that it holds itself, it cannot be inside of it
            return
        for call in self.references.calls(function):
            self.from_statement(call.node, block, logs=logs)
            name = loop_name(call.node) if call.feeds_loop else None
            if name == self.loop:
                self.inside.add(block)
            elif name is not None:
                self.from_statement(call.node, name, logs=logs)

    def _holds_loop(self, function: Node) -> bool:
        """Whether the checkpointed loop stands in a function that nothing inside of that loop calls."""
        loops = [node for node in function.atoms() if loop_name(node) == self.loop]
        called = {
            getattr(part, "id", None) or getattr(part, "attr", None)
            for each in loops
            for node in each.below()
            for top in head_parts(node)
            for part in ast.walk(top)
        }
        return bool(loops) and function.name not in called

    def _from_module(self, root: Node, *, logs: bool) -> None:
        """The top level of a file runs where it is first imported."""
        self.outside = self.outside or logs
        if (root, None, logs) in self._seen:
            return
        self._seen.add((root, None, logs))
        for node in self.references.imports(root.tree.source.path):
            if node.owner is not node.tree.root or any(isinstance(above.statement, ast.For) for above in node.above()):
                self.from_statement(node, None, logs=logs)
