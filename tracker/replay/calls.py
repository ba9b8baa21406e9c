"""Which calls of a file are log calls, and what they log."""

from __future__ import annotations

import ast
import re
from functools import cached_property

from tracker.replay.source import Source

MODULES = frozenset({"tracker", "flor", "hindsight"})
_LOGS = ("log", "log_many")


class LogCalls:
    """Recognises ``tracker.log``, ``flor.log``, ``log`` imported by name or alias, and ``log_many``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @cached_property
    def _imported(self) -> dict[str, str]:
        """Local names of what the file imports from us: of the module (``""``) or of a function."""
        found = {name: "" for name in MODULES}
        if not any(name in self._source.text for name in MODULES):
            return found
        for node in ast.walk(self._source.tree):
            if isinstance(node, ast.Import):
                found.update({a.asname or a.name: "" for a in node.names if a.name in MODULES})
            elif isinstance(node, ast.ImportFrom) and node.module in MODULES and not node.level:
                found.update({a.asname or a.name: a.name for a in node.names})
        return found

    def _function(self, call: ast.Call) -> str | None:
        """The function of ours that is called, else ``None``."""
        if isinstance(call.func, ast.Name):
            return self._imported.get(call.func.id) or None
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            return call.func.attr if self._imported.get(call.func.value.id) == "" else None
        return None

    def is_log(self, call: ast.AST) -> bool:
        return isinstance(call, ast.Call) and self._function(call) in _LOGS

    def passed_through(self, call: ast.Call) -> ast.expr | None:
        """The argument that a ``log`` or ``loop`` inside an expression hands on unchanged."""
        if (
            self._function(call) in ("log", "loop")
            and len(call.args) >= 2
            and not isinstance(call.args[1], ast.Starred)
        ):
            return call.args[1]
        return None

    def names(self, expression: ast.AST) -> list[str] | None:
        """The names that a call logs (computed ones as patterns, see ``matches``); ``None``: no log call."""
        if not isinstance(expression, ast.Call):
            return None
        function = self._function(expression)
        attribute = expression.func.attr if isinstance(expression.func, ast.Attribute) else None
        if function not in _LOGS and attribute not in _LOGS:
            return None
        first = expression.args[0] if expression.args else None
        if (function or attribute) == "log_many" or isinstance(first, ast.Dict):
            return _many(first)
        name = _name(first)
        if name is None or (function is None and len(expression.args) < 2):
            return [] if function in _LOGS else None
        return [name]


def _many(mapping: ast.expr | None) -> list[str]:
    if isinstance(mapping, ast.Dict):
        return [name for key in mapping.keys if (name := _name(key)) is not None]
    if isinstance(mapping, ast.Call) and isinstance(mapping.func, ast.Name) and mapping.func.id == "dict":
        return [keyword.arg for keyword in mapping.keywords if keyword.arg is not None]
    return []


def _name(expression: ast.expr | None) -> str | None:
    """A constant name as it is; an f-string as a pattern whose holes are NUL characters."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        return expression.value
    if isinstance(expression, ast.JoinedStr):
        return "".join(
            v.value if isinstance(v, ast.Constant) and isinstance(v.value, str) else "\0" for v in expression.values
        )
    return None


def matches(pattern: str, name: str) -> bool:
    """Whether a logged name, perhaps with holes, is the name that was asked for."""
    if "\0" not in pattern:
        return pattern == name
    parts = [re.escape(part) for part in pattern.split("\0")]
    return re.fullmatch("(?s:.+)".join(parts), name) is not None
