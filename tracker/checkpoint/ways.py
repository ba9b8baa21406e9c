"""Whether a program that begins with the state of a block's exit comes to that block as the run did.

It executes what stands before the block in the iteration with values from after it. What that assigns is overwritten
at the block; but which way it takes, and what waits in the middle of an expression, is not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from types import CodeType, FrameType

from tracker.checkpoint.blocks import Spot
from tracker.checkpoint.names import changed_globals, loop_at, scope_of, stored_and_changed, tree_of

Place = tuple[int, int]  # line and column
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_LOOPS = (ast.For, ast.AsyncFor)
_JUMPS = (ast.Break, ast.Continue, ast.Return)
_PURE = {"range", "len", "enumerate", "zip", "isinstance", "min", "max", "abs", "int", "float", "bool", "str", "list"}


def is_reached_anyway(spot: Spot) -> bool:
    """Whether nothing that the loop changes decides how the block at this spot is reached. ``False`` in doubt."""
    frames = spot.frames()
    if frames is None:
        return False
    if spot.inner is None:
        return True  # the end of an iteration: the next one is entered, and nothing is executed twice
    for number, frame in enumerate(frames):
        is_last = frame is frames[-1]
        line = spot.inner_line if is_last else frame.f_lineno
        call = None if is_last else _call_of(frame)
        if line is None or not _is_certain(frame.f_code, spot.outer_line if number == 0 else None, line, call):
            return False
    return True


def _call_of(frame: FrameType) -> Place:
    """Where in the source the call stands that a function waits for."""
    line, _, column, _ = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
    return line or 0, -1 if column is None else column


@lru_cache(maxsize=256)
def _is_certain(code: CodeType, loop_line: int | None, line: int, call: Place | None) -> bool:
    tree = tree_of(code.co_filename)
    scope = None if tree is None else scope_of(tree, code)
    loop = None if scope is None else loop_at(scope, loop_line)
    if tree is None or scope is None or (loop_line is not None and loop is None):
        return False
    body = scope.body if loop is None else loop.body
    steady = set() if loop is None else stored_and_changed([loop.target])[0]
    stored, changed = stored_and_changed(body)
    if loop is None and not isinstance(scope, ast.Module):
        stored |= {node.arg for node in ast.walk(scope.args) if isinstance(node, ast.arg)}
    stored |= changed_globals(tree)
    return _Way(line, call, body, frozenset(stored - steady), frozenset((stored | changed) - steady)).leads(body)


class _Way:
    """The statements between the beginning of an iteration, or of a function, and a line.

    ``call``: the call there in which the block runs; ``None`` where the block itself stands there.
    """

    def __init__(
        self,
        line: int,
        call: Place | None,
        body: Sequence[ast.stmt],
        stored: frozenset[str],
        unsteady: frozenset[str],
    ) -> None:
        self.line, self.call, self.body, self.stored, self.unsteady = line, call, body, stored, unsteady

    def leads(self, statements: Sequence[ast.stmt]) -> bool:
        """Whether these statements lead to the line whatever the state is."""
        for statement in statements:
            if statement.lineno <= self.line <= (statement.end_lineno or statement.lineno):
                return self._leads_within(statement)
            if not self._is_fixed(statement):
                return False
        return False

    def _leads_within(self, statement: ast.stmt) -> bool:
        if isinstance(statement, _LOOPS) and statement.lineno == self.line and self.call is None:
            return True
        if isinstance(statement, ast.With | ast.AsyncWith | ast.Try):
            return self.leads(statement.body)
        if isinstance(statement, ast.If) and self.line > statement.test.lineno:
            inner = statement.body if self.line < _first(statement.orelse, self.line + 1) else statement.orelse
            return self._is_steady(statement.test) and self.leads(inner)
        if isinstance(statement, _LOOPS) and self.line >= statement.body[0].lineno:
            others = all(self._is_fixed(each) for each in statement.body if not self._holds(each))
            return self._is_steady(statement.iter) and others and self.leads(statement.body)
        is_plain = isinstance(statement, ast.Expr | ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return)
        return is_plain and self._waits_for_nothing(statement)

    def _holds(self, statement: ast.stmt) -> bool:
        return statement.lineno <= self.line <= (statement.end_lineno or statement.lineno)

    def _waits_for_nothing(self, statement: ast.stmt) -> bool:
        """Whether no value that changes has been read when the statement makes its call."""
        calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call) and _place(node) == self.call]
        if not calls:
            return False
        call = max(calls, key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0))
        inside = set(ast.walk(call)) - set(ast.walk(call.func))
        if isinstance(statement, ast.AugAssign):
            inside |= set(ast.walk(statement.target))
            elsewhere, changed = stored_and_changed([each for top in self.body for each in _without(top, statement)])
            if not isinstance(statement.target, ast.Name) or statement.target.id in elsewhere | changed:
                return False
        receivers = {_root(node.func) for node in ast.walk(statement) if isinstance(node, ast.Call)}
        waiting = [node for node in ast.walk(statement) if isinstance(node, ast.Name) and node not in inside]
        waiting = [node for node in waiting if isinstance(node.ctx, ast.Load) and _place(node) <= _place(call)]
        return not any(node.id in (self.stored if node in receivers else self.unsteady) for node in waiting)

    def _is_fixed(self, statement: ast.AST) -> bool:
        """Whether a statement does not decide which blocks follow, or not by what changes."""
        for node in _visible(statement):
            if isinstance(node, ast.Return):
                return False
            if isinstance(node, ast.If | ast.While | ast.Try | ast.Match | ast.For | ast.AsyncFor):
                test = getattr(node, "test", None) or getattr(node, "iter", None) or getattr(node, "subject", None)
                decides = _turns(node) and not (isinstance(node, _LOOPS) and _is_ours(node))
                if decides and (test is None or not self._is_steady(test)):
                    return False
        return True

    def _is_steady(self, expression: ast.AST) -> bool:
        """Whether an expression has the value that it had."""
        for node in ast.walk(expression):
            if isinstance(node, ast.Name) and (node.id in self.unsteady or node.id == "self"):
                return False
            if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _PURE):
                return False
        return True


def _place(node: ast.expr) -> Place:
    return node.lineno, node.col_offset


def _root(function: ast.expr) -> ast.expr:
    """The variable at the beginning of ``a.b.c``."""
    while isinstance(function, ast.Attribute):
        function = function.value
    return function


def _first(statements: Sequence[ast.stmt], otherwise: int) -> int:
    return statements[0].lineno if statements else otherwise


def _visible(top: ast.AST) -> Iterator[ast.AST]:
    """A statement and what it contains, without functions, and without what stands in a block."""
    if isinstance(top, _SCOPES):
        return
    yield top
    if isinstance(top, _LOOPS) and _is_ours(top):
        yield from (node for node in ast.walk(top) if isinstance(node, ast.Return))
        return
    for child in ast.iter_child_nodes(top):
        yield from _visible(child)


def _without(top: ast.AST, left_out: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement, without those of one inside of it."""
    if top is left_out:
        return
    yield top
    for child in ast.iter_child_nodes(top):
        yield from _without(child, left_out)


def _turns(top: ast.AST) -> bool:
    """Whether something below leaves the iteration, or is a block."""
    return any(isinstance(node, _JUMPS) or (isinstance(node, _LOOPS) and _is_ours(node)) for node in _visible(top))


def _is_ours(loop: ast.For | ast.AsyncFor) -> bool:
    """Whether it looks like one of the tracker's loops."""
    called = loop.iter.func if isinstance(loop.iter, ast.Call) else None
    return getattr(called, "attr", None) == "loop" or getattr(called, "id", None) == "loop"
