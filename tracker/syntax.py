"""Parsing Python beside other threads that do the same.

Python 3.11 counts the nesting of a syntax tree in one place for all threads. Where two threads parse at the same
moment, each takes the other's count for an error of its own and raises ``SystemError``. Nothing is lost: it can be
tried again.
"""

from __future__ import annotations

import ast
import os
import threading
import time

_TRIES, _PAUSE_S = 100, 0.002
_parsing = threading.Lock()  # ours do not meet at least; the user's program may parse, too


def _after_in_child() -> None:
    global _parsing
    _parsing = threading.Lock()  # its owner is not here


os.register_at_fork(after_in_child=_after_in_child)


def parse(source: str) -> ast.Module:
    """The tree of a file; the errors of ``ast.parse``."""
    found = _parsed(source, "exec")
    assert isinstance(found, ast.Module)
    return found


def parse_expression(source: str) -> ast.expr:
    """The tree of one expression; the errors of ``ast.parse``."""
    found = _parsed(source, "eval")
    assert isinstance(found, ast.Expression)
    return found.body


def _parsed(source: str, mode: str) -> ast.AST:
    with _parsing:
        for _ in range(_TRIES):
            try:
                return ast.parse(source, mode=mode)
            except SystemError:
                time.sleep(_PAUSE_S)  # in which the other thread may come to its end
        return ast.parse(source, mode=mode)
