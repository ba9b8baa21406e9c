"""What a statement says, as a row of words that can be compared, hashed and voted on."""

from __future__ import annotations

import ast

from tracker.replay.calls import LogCalls

_SKIPPED = frozenset(
    {"ctx", "type_comment", "kind", "type_ignores", "lineno", "body", "handlers", "cases", "orelse", "finalbody"}
)


def fingerprint(statement: ast.AST, calls: LogCalls) -> tuple[str, ...]:
    """The words of a statement without its blocks.

    Variables are written ``n:name`` (``self.x`` and ``args.x`` are one variable each), so that renames can be
    seen. A value that is only passed through ``log`` or ``loop`` reads as the value itself.
    """
    out: list[str] = []
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and calls.is_log(statement.value):
        out.append("log")
        for child in (*statement.value.args, *statement.value.keywords):
            _visit(child, out, calls)
        return tuple(out)
    if isinstance(statement, (ast.Try, ast.TryStar)):
        return ("Try",)
    _fields(statement, out, calls)
    return tuple(out)


def _fields(node: ast.AST, out: list[str], calls: LogCalls) -> None:
    out.append(type(node).__name__)
    for field in node._fields:
        if field in _SKIPPED and not (field in ("body", "orelse") and isinstance(node, (ast.IfExp, ast.Lambda))):
            continue
        value = getattr(node, field, None)
        if isinstance(value, ast.AST):
            _visit(value, out, calls)
        elif isinstance(value, list):
            out.append(f"#{len(value)}")
            for item in value:
                if isinstance(item, ast.AST):
                    _visit(item, out, calls)
                else:
                    out.append(f"n:{item}")
        elif value is not None:
            out.append(
                f"n:{value}" if field in ("name", "arg", "rest") and not isinstance(node, ast.alias) else f"={value}"
            )


def _visit(node: ast.AST, out: list[str], calls: LogCalls) -> None:
    if isinstance(node, ast.Name):
        out.append("n:" + node.id)
    elif isinstance(node, ast.Constant):
        out.append(f"c:{node.value!r}")
    elif isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name):
            out.append(f"n:{node.value.id}.{node.attr}")
        else:
            _visit(node.value, out, calls)
            out.append("." + node.attr)
    elif isinstance(node, ast.Call):
        _call(node, out, calls)
    elif isinstance(node, ast.keyword):
        out.append(f"k:{node.arg}")
        _visit(node.value, out, calls)
    else:
        _fields(node, out, calls)


def _call(node: ast.Call, out: list[str], calls: LogCalls) -> None:
    inner = calls.passed_through(node)
    if inner is not None:
        _visit(inner, out, calls)
        return
    out.append(f"call{len(node.args)}")
    if isinstance(node.func, ast.Attribute):  # the method's name is no variable
        _visit(node.func.value, out, calls)
        out.append("." + node.func.attr)
    else:
        _visit(node.func, out, calls)
    for child in (*node.args, *node.keywords):
        _visit(child, out, calls)
