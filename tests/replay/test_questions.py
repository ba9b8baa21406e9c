"""What people type is understood, or they are told what is wrong with it."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

import tracker.replay.questions as module
from tracker.errors import InputError
from tracker.replay.documents import Question
from tracker.replay.questions import ask, parse_iterations, parse_names, parse_overrides
from tracker.store.documents import decode, encode


def test_the_examples_hold() -> None:
    """The documented ones run."""
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["epoch=0"], {"epoch": (0,)}),
        (["epoch=9,0,5"], {"epoch": (0, 5, 9)}),
        (["epoch=0-3,2"], {"epoch": (0, 1, 2, 3)}),
        (["epoch=1", "epoch=2 , 4 - 5", "a.b=3"], {"epoch": (1, 2, 4, 5), "a.b": (3,)}),
        ([], {}),
    ],
)
def test_iterations(texts: list[str], expected: dict[str, tuple[int, ...]]) -> None:
    """Indices, lists, ranges with both ends, several loops."""
    assert parse_iterations(texts) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("epoch", "does not say which iterations"),
        ("=3", "does not say which iterations"),
        ("epoch=", "'' in 'epoch=' is no index or range"),
        ("epoch=1,,2", "is no index or range"),
        ("epoch=last", "'last' in 'epoch=last' is no index"),
        ("epoch=-1", "count from 0"),
        ("epoch=9-3", "write 3-9"),
        ("epoch=0-99999999999", "more than 1,000,000"),
    ],
)
def test_iterations_that_cannot_be_read(text: str, problem: str) -> None:
    """The message repeats the piece and shows the form."""
    with pytest.raises(InputError, match=problem):
        parse_iterations([text])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lr=1e-3", 0.001), ("n=3", 3), ("n=-3", -3), ("on=True", True), ("on=true", True), ("x=None", None),
        ("x=null", None), ("name=adam", "adam"), ("name='3'", "3"), ("path=a=b", "a=b"), ("x=", ""), ("x=1 2", "1 2"),
        ("x=[1, 2.5]", [1, 2.5]), ("x={'a': 1}", {"a": 1}), ("x=inf", "inf"), ("x=b'1'", "b'1'"), ("x=1e999", "1e999"),
        ("x={1, 2}", "{1, 2}"), ("x=(1, 2)", "(1, 2)"),
    ],
)  # fmt: skip
def test_overrides(text: str, value: Any) -> None:
    """Literals become values, all others stay texts, and a plan gives them back as they are."""
    ((name, found),) = parse_overrides([text]).items()

    assert name == text.partition("=")[0]
    assert found == value
    assert type(found) is type(value)
    question = Question(names=("x",), overrides={name: found})
    assert decode(encode(question), Question, key="q") == question


@pytest.mark.parametrize("texts", [["lr"], ["=3"], ["lr=1", "lr=2"]])
def test_overrides_that_cannot_be_read(texts: list[str]) -> None:
    """No name, no value, two values."""
    with pytest.raises(InputError, match=r"expected NAME=VALUE|changed twice"):
        parse_overrides(texts)


def test_names() -> None:
    """Each once, in order."""
    assert parse_names(["b", "a", "b", "@3", "train.py@4", "loss@5", "a@b"]) == (
        "b", "a", "@3", "train.py@4", "loss@5", "a@b",
    )  # fmt: skip


@pytest.mark.parametrize("texts", [[], [""], ["@"], ["@x"], ["@0"]])
def test_names_that_cannot_be_read(texts: list[str]) -> None:
    """Nothing, an empty text, no line."""
    with pytest.raises(InputError):
        parse_names(texts)


def test_a_whole_question() -> None:
    """All pieces in one document."""
    found = ask(["x"], where="lr > 1", runs=["ab"], iterations=["epoch=1"], overrides=["lr=2"])

    assert found == Question(
        names=("x",), where="lr > 1", runs=("ab",), iterations={"epoch": (1,)}, overrides={"lr": 2}
    )
