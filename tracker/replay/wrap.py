"""A log call inside an expression: the same value of the old version is wrapped in it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from tracker.replay.fingerprint import fingerprint
from tracker.replay.flow import Flow, expression_flow
from tracker.replay.place import Nowhere
from tracker.replay.render import renamed_segment
from tracker.replay.splice import Edit
from tracker.replay.tree import Node


@dataclass(slots=True)
class Wrapping:
    """The old expression, and the call to write around it."""

    node: Node
    call: ast.Call
    value: ast.expr
    image: Node
    target: ast.expr

    @property
    def reads(self) -> Flow:
        """What the call itself reads, apart from the value."""
        return expression_flow(
            [
                self.call.func,
                *(a for a in self.call.args if a is not self.value),
                *(k.value for k in self.call.keywords),
            ]
        )

    def edits(self, renames: Mapping[str, str]) -> list[Edit]:
        before, after = renamed_segment(self.node, self.call, self.value, renames)
        source = self.image.tree.source
        start = source.column(self.target.lineno, self.target.col_offset)
        end_line = self.target.end_lineno or self.target.lineno
        end = source.column(end_line, self.target.end_col_offset or 0)
        return [Edit(self.target.lineno, start, before), Edit(end_line, end, after)]


def wrap_call(node: Node, call: ast.Call, image: Node) -> Wrapping:
    """Find the value that a call logs in the old statement; raises ``Nowhere`` where it is not, or not once."""
    value = node.tree.calls.passed_through(call)
    if value is None or image.statement is None:
        raise Nowhere("the statement that logs it is different there")
    wanted = _words(value, node)
    blocks = {id(child.statement) for child in image.children()}
    same: list[ast.expr] = []
    stack: list[ast.AST] = [image.statement]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.expr) and _words(part, image) == wanted and _loads(part):
            same.append(part)
            continue
        stack += [child for child in ast.iter_child_nodes(part) if id(child) not in blocks]
    if len(same) != 1:
        found = "not in" if not same else f"{len(same)} times in"
        raise Nowhere(f"the logged value is {found} line {image.first}, which corresponds")
    return Wrapping(node, call, value, image, same[0])


def _loads(part: ast.expr) -> bool:
    return isinstance(getattr(part, "ctx", ast.Load()), ast.Load)


def _words(part: ast.expr, node: Node) -> tuple[str, ...]:
    words = fingerprint(ast.Return(part), node.tree.calls)
    return tuple("n:" if word.startswith("n:") else word for word in words)
