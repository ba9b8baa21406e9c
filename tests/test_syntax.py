"""Parsing beside other threads."""

from __future__ import annotations

import ast
import gc
import threading
import time
from collections.abc import Iterator

import pytest

from tracker import syntax
from tracker.syntax import parse, parse_expression

TEXT = "\n".join(f"x{i} = [a + {i} for a in range({i}) if (a, b, {i})]" for i in range(200))


@pytest.fixture
def switching() -> Iterator[None]:
    """Every collection of garbage lets another thread go on, also in the middle of making a tree."""

    def let_go(*_: object) -> None:
        time.sleep(0)

    gc.callbacks.append(let_go)
    yield
    gc.callbacks.remove(let_go)


def test_threads_parse_at_the_same_moment(switching: None) -> None:
    """Ours, and one of the user's program."""
    problems: list[BaseException] = []
    over = threading.Event()
    expected = ast.dump(ast.parse(TEXT))

    def ours() -> None:
        try:
            for _ in range(25):
                assert ast.dump(parse(TEXT)) == expected
        except BaseException as exc:  # noqa: BLE001
            problems.append(exc)

    def theirs() -> None:
        while not over.is_set():
            try:
                ast.parse(TEXT)
            except SystemError:  # of some versions of Python
                time.sleep(0)
            time.sleep(0.005)

    threads = [threading.Thread(target=ours) for _ in range(2)]
    user = threading.Thread(target=theirs)
    for thread in (*threads, user):
        thread.start()
    for thread in threads:
        thread.join(200)
    over.set()
    user.join(60)

    assert problems == []


def test_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that comes again and again is raised in the end."""
    calls: list[str] = []
    real = ast.parse

    def failing(source: str, mode: str = "exec") -> ast.AST:
        calls.append(source)
        if len(calls) % 4 or "always" in source:
            raise SystemError("AST constructor recursion depth mismatch (before=60, after=90)")
        return real(source, mode=mode)

    monkeypatch.setattr(ast, "parse", failing)
    monkeypatch.setattr(syntax, "_PAUSE_S", 0)

    assert ast.unparse(parse("a=1")) == "a = 1"
    assert ast.unparse(parse_expression("a+1")) == "a + 1"
    with pytest.raises(SystemError):
        parse("always")


@pytest.mark.parametrize("source", ["a =", "\0", "(" * 3000])
def test_what_is_wrong_is_told_as_ever(source: str) -> None:
    """At once."""
    with pytest.raises((SyntaxError, ValueError, MemoryError, RecursionError)):
        parse(source)
