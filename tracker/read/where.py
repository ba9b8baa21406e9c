"""Choosing runs by an expression such as ``lr > 1e-3 and status == "finished"``, without ever evaluating code."""

from __future__ import annotations

import ast
import difflib
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tracker.errors import InputError, NameNotFound
from tracker.syntax import parse_expression

Values = Mapping[str, Any]
Condition = Callable[[Values], Any]

_COMPARE: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.AST], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_METHODS = frozenset({"startswith", "endswith", "lower", "upper", "strip"})
_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|`((?:[^`]|``)+)`""", re.DOTALL)
_MAX_LENGTH = 20_000
_MAX_DEPTH = 60
_MOST_NAMES = 12
_FORMS = "comparisons, and, or, not, in, + - * / // %, lists, and .startswith .endswith .lower .upper .strip of texts"


class Where:
    """A parsed condition on a run's arguments, last values and identity.

    A name that a run lacks is ``None``, and what cannot be compared is not true: a run without ``lr`` is simply not
    among those with ``lr > 0``. Names that are no Python names stand in backquotes, as ``norm{layer=0}`` would.

    >>> Where("lr > 1e-3 and script.endswith('train.py')")({"lr": 0.1, "script": "a/train.py"})
    True
    """

    def __init__(self, text: str) -> None:
        quoted: dict[str, str] = {}

        def placeholder(match: re.Match[str]) -> str:
            if match[2] is None:
                return match[1]
            name = f"quoted_{len(quoted)}_"
            quoted[name] = match[2].replace("``", "`")
            return name

        self.text = text
        self._tree = _parse(text, _QUOTED.sub(placeholder, text))
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Name):
                node.id = quoted.get(node.id, node.id)
            if isinstance(node, ast.expr) and not _is_allowed(node):
                raise InputError(f"{_shown(node)} in the condition {text!r} is not allowed: expected {_FORMS}")
        self.names = frozenset(node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name))

    def __call__(self, run: Values) -> bool:
        """Whether a run with these values is chosen."""
        return bool(_value(self._tree, run))


def _parse(text: str, source: str) -> ast.expr:
    if len(text) > _MAX_LENGTH:
        raise InputError(f"the condition has {len(text)} characters, expected at most {_MAX_LENGTH}")
    try:
        tree = parse_expression(source.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        example = "lr > 1e-3 and status == 'finished'"
        raise InputError(f"the condition {text!r} cannot be read ({exc}); write for example: {example}") from exc
    nodes: list[ast.AST] = [tree]
    for _ in range(_MAX_DEPTH):
        nodes = [child for node in nodes for child in ast.iter_child_nodes(node)]
        if not nodes:
            return tree
    raise InputError(f"the condition {text[:80]!r}… is nested more than {_MAX_DEPTH} deep; split it")


def _is_allowed(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and not node.keywords
    if isinstance(node, ast.Attribute):
        return node.attr in _METHODS
    if isinstance(node, ast.BinOp):
        return type(node.op) in _ARITHMETIC
    if isinstance(node, ast.UnaryOp):
        return type(node.op) in _UNARY
    return type(node) in _FORM_VALUES


def _shown(node: ast.expr) -> str:
    return repr(ast.unparse(node)[:80])


def _value(node: ast.expr, run: Values) -> Any:
    return _FORM_VALUES[type(node)](node, run)


def _bool_value(node: ast.BoolOp, run: Values) -> bool:
    values = (bool(_value(part, run)) for part in node.values)
    return all(values) if isinstance(node.op, ast.And) else any(values)


def _binary_value(node: ast.BinOp, run: Values) -> Any:
    left, right = _value(node.left, run), _value(node.right, run)
    texts = isinstance(left, str) and isinstance(right, str) and isinstance(node.op, ast.Add)
    if not texts and not (_is_number(left) and _is_number(right)):
        return None  # also keeps "x" * 10**9 from being computed
    return _attempt(_ARITHMETIC[type(node.op)], left, right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _compare_value(node: ast.Compare, run: Values) -> bool:
    left = _value(node.left, run)
    for operation, operand in zip(node.ops, node.comparators, strict=True):
        right = _value(operand, run)
        if not _attempt(_COMPARE[type(operation)], *_as_moments(left, right)):
            return False
        left = right
    return True


def _as_moments(left: Any, right: Any) -> tuple[Any, Any]:
    """Let ``started > "2026-01-31"`` compare times; a text without a zone is taken as UTC."""
    if isinstance(left, datetime) and isinstance(right, str):
        return left, _moment(right)
    return (_moment(left), right) if isinstance(right, datetime) and isinstance(left, str) else (left, right)


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _call_value(node: ast.Call, run: Values) -> Any:
    assert isinstance(node.func, ast.Attribute)
    values = [_value(part, run) for part in (node.func.value, *node.args)]
    if not all(isinstance(value, str) for value in values):
        return None
    return _attempt(getattr(str, node.func.attr), *values)


def _attempt(work: Callable[..., Any], *values: Any) -> Any:
    try:
        return work(*values)
    except (TypeError, ValueError, ArithmeticError):
        return None


_FORM_VALUES: dict[type[ast.AST], Callable[[Any, Values], Any]] = {
    ast.Constant: lambda node, run: node.value,
    ast.Name: lambda node, run: run.get(node.id),
    ast.List: lambda node, run: [_value(item, run) for item in node.elts],
    ast.Tuple: lambda node, run: [_value(item, run) for item in node.elts],
    ast.Set: lambda node, run: [_value(item, run) for item in node.elts],
    ast.BoolOp: _bool_value,
    ast.UnaryOp: lambda node, run: _attempt(_UNARY[type(node.op)], _value(node.operand, run)),
    ast.BinOp: _binary_value,
    ast.Compare: _compare_value,
    ast.Call: _call_value,
    ast.Attribute: lambda node, run: None,
}


def choose(mappings: Iterable[tuple[Any, Values]], where: str | Condition | None) -> list[Any]:
    """The items whose values satisfy a condition: an expression, a function of the mapping, or ``None`` for all.

    ``NameNotFound`` when an expression uses a name that no run has, because that is a slip and not an empty answer.
    """
    pairs = list(mappings)
    condition = Where(where) if isinstance(where, str) else where
    if condition is None:
        return [item for item, _ in pairs]
    if isinstance(condition, Where) and pairs:
        known = {name for _, values in pairs for name in values}
        for name in sorted(condition.names - known):
            raise NameNotFound(f"no run has {name!r}, used in {condition.text!r}{near(name, known)}")
    return [item for item, values in pairs if condition(values)]


def near(name: str, known: Collection[str]) -> str:
    """The end of a message: what was perhaps meant, or what there is."""
    found = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if found:
        return f"; did you mean {' or '.join(repr(match) for match in found)}?"
    if not known:
        return "; nothing was logged yet"
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return f"; there is {', '.join(repr(each) for each in sorted(known)[:_MOST_NAMES])}{more}"
