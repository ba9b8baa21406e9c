"""What probes read of the state that the program leaves behind, and what state they keep themselves.

A checkpoint holds what the old code needed. A probe may read a variable that the old code had no use for after a block,
or gradients, which belong to no state; then the block must run. And a probe that counts or remembers from iteration to
iteration has a state of its own, which no checkpoint holds.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tracker.replay.flow import flow
from tracker.replay.inserted import head_calls, head_parts
from tracker.replay.tree import Node

_PASSING = frozenset({"grad"})  # attributes that no state has
_MUTATORS = frozenset({"append", "extend", "add", "update", "insert", "appendleft", "setdefault", "pop", "remove"})

_SHARING = (ast.Global, ast.Nonlocal)
_ALWAYS = (ast.With, ast.AsyncWith, ast.For, ast.AsyncFor, ast.Try)
NameOf = Callable[[Node], str | None]


@dataclass(frozen=True)
class Needs:
    """``blocks``: pairs of a nested loop and a variable that it leaves behind. ``names``: variables that the
    checkpointed loop leaves to its next iteration or to what follows it.
    """

    blocks: frozenset[tuple[str, str]] = frozenset()
    names: frozenset[str] = frozenset()

    def without(self, names: Collection[str]) -> Needs:
        """The needs without variables whose state is known to be there."""
        blocks = frozenset((block, name) for block, name in self.blocks if name not in names)
        return Needs(blocks, self.names.difference(names))


def find_needs(probes: Sequence[Node], new: Collection[Node], loop: str, name_of: NameOf) -> Needs | None:
    """What the probes read that blocks bind or change; ``None`` for probes with a state of their own.

    ``name_of`` gives the name of the loop of ours that a statement runs, if it does.
    """
    if any(_remembers(node, set(new), loop, name_of) for node in probes):
        return None
    found: set[tuple[str, str]] = set()
    left_over: set[str] = set()
    for node in probes:
        left_over |= _left_over(node, loop, name_of)
        reads = set(flow(node).reads)
        for block in _blocks_beside(node, loop, name_of):
            left = {name for inner in (block, *block.below()) for name in flow(inner).binds | flow(inner).changes}
            found.update((name_of(block) or "", name) for name in reads & left - _imported(node))
    return Needs(frozenset(found), frozenset(left_over))


def _left_over(node: Node, loop: str, name_of: NameOf) -> set[str]:
    """What a statement reads that the checkpointed loop binds only later in an iteration, or has bound before."""
    found = set()
    for home in (other for other in node.owner.atoms() if name_of(other) == loop and other.at < node.at):
        bound: dict[str, int] = {}
        for other in (home, *home.below()):
            for name in flow(other).binds:
                bound.setdefault(name, other.at)
        is_inside = node.inside(home)
        reads = set(flow(node).reads) - _imported(node)
        found |= {name for name in reads if name in bound and (not is_inside or bound[name] > node.at)}
    return found


def _blocks_beside(node: Node, loop: str, name_of: NameOf) -> Iterator[Node]:
    """Nested loops in the same scope that the statement does not stand in."""
    around = set(node.above())
    for other in node.owner.atoms():
        name = name_of(other)
        if name is not None and name != loop and other not in around and other is not node:
            yield other


def _imported(node: Node) -> set[str]:
    return {name for other in node.tree.root.below() if other.is_import for name in flow(other).binds}


def registered(nodes: Iterable[Node]) -> set[str]:
    """The variables that ``checkpointing(name=variable)`` registers: their state is in every checkpoint."""
    return {
        ast.unparse(keyword.value)
        for node in nodes
        for call in head_calls(node)
        if "checkpointing" in (getattr(call.func, "attr", None), getattr(call.func, "id", None))
        for keyword in call.keywords
    }


def reads_passing(node: Node) -> bool:
    """Whether a statement reads what is gone when its block is skipped, gradients above all."""
    return any(
        isinstance(part, ast.Attribute) and part.attr in _PASSING for top in head_parts(node) for part in ast.walk(top)
    )


def _remembers(node: Node, new: set[Node], loop: str, name_of: NameOf) -> bool:
    """Whether a new statement takes over a value from an earlier iteration.

    It changes a name, or binds one that a probe reads, and the value of that name was bound outside of the checkpointed
    loop or is read before it is bound.
    """
    if node not in new:
        return False
    return any(not _begins_anew(node, name, new, loop, name_of) for name in flow(node).binds | _changed(node))


def _changed(node: Node) -> set[str]:
    """Names that a statement changes in place, as far as it looks like it."""
    statement = node.statement
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value.func
        return set(flow(node).changes) if isinstance(called, ast.Attribute) and called.attr in _MUTATORS else set()
    return set(flow(node).changes)


def _begins_anew(node: Node, name: str, new: set[Node], loop: str, name_of: NameOf) -> bool:
    """Whether every iteration of the checkpointed loop binds the name before it is used."""
    if "." in name:
        return not any(name in flow(other).reads or name in flow(other).changes for other in new)
    scope = node.owner.atoms()
    if any(isinstance(other.statement, _SHARING) and name in other.statement.names for other in scope):
        return False
    home = _home(node, loop, name_of)
    if home is None and not node.owner.is_function:
        return not any(name_of(above) for above in node.above())
    inside = [other for other in scope if home is None or other.inside(home)]
    uses = [o for o in inside if name in flow(o).binds or name in flow(o).reads or name in flow(o).changes]
    first = min(uses, key=lambda other: other.at, default=node)
    is_plain = name in flow(first).binds and name not in flow(first).reads
    return is_plain and (_always_runs(first, home) or all(_follows(other, first) for other in uses))


def _follows(other: Node, first: Node) -> bool:
    """Whether the first statement has run whenever the other one does."""
    return other is first or (first.parent is not None and other.at > first.at and other.at < first.block[-1].end)


def _always_runs(node: Node, home: Node | None) -> bool:
    """Whether no condition decides on a statement; a loop that has no items counts as none."""
    top = node.owner if home is None else home
    return all(isinstance(above.statement, _ALWAYS) for above in node.above() if above.inside(top))


def _home(node: Node, loop: str, name_of: NameOf) -> Node | None:
    """The checkpointed loop around a statement in its own function, ``None`` where there is none."""
    for above in node.above():
        if above.is_function:
            return None
        if name_of(above) == loop:
            return above
    return None
