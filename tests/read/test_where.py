"""Conditions on runs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tracker.errors import InputError, NameNotFound
from tracker.read.where import Where, choose

RUN = {
    "lr": 0.01,
    "epochs": 10,
    "net": "resnet50",
    "status": "finished",
    "flag": True,
    "batch size": 64,
    "norm{layer=0}": 2.5,
    "it's": 1,
    "tags": ("a", "b"),
    "nothing": None,
    "started": datetime(2026, 3, 1, 12, tzinfo=UTC),
}


@pytest.mark.parametrize(
    "text",
    [
        "lr > 1e-3 and status == 'finished'",
        "0.001 < lr <= 0.01",
        "not flag or epochs == 10",
        "net in ['resnet50', 'vgg']",
        "'a' in tags and 'c' not in tags",
        "net.startswith('res') and net.upper().endswith('50')",
        "`batch size` * 2 == 128",
        "`norm{layer=0}` - 0.5 == 2",
        "`it's` == 1 and \"`\" != 'x'",
        "-epochs < 0 and epochs // 3 == 3 and epochs % 3 == 1",
        "nothing is None",
        "started > '2026-02-28' and started < '2026-03-01T13:00:00+00:00'",
        "net + '!' == 'resnet50!'",
    ],
)
def test_true_conditions(text: str) -> None:
    """What holds of the run above."""
    assert Where(text)(RUN) is True


@pytest.mark.parametrize(
    "text",
    [
        "lr > 1",
        "net > 3",
        "missing > 0 or missing < 0",
        "missing + 1 > 0",
        "lr / 0 > 1",
        "epochs in 5",
        "started > 'yesterday'",
        "nothing.startswith('x')",
        "net * 1000000000 == ''",
    ],
)
def test_what_cannot_be_compared_is_not_true(text: str) -> None:
    """A missing value, a text beside a number and a division by zero choose nothing and raise nothing."""
    assert Where(text)(RUN) is False


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "lr.__class__",
        "(lambda: 1)()",
        "[x for x in tags]",
        "tags[0]",
        "net.format(lr)",
        "lr ** 99999999",
        "open('x')",
        "f'{lr}'",
        "lr if flag else 1",
        "net.upper(lr=1)",
        "lr := 3",
        "lr = 3",
        "lr >",
        "",
        "(" * 200 + "lr" + ")" * 200 + "(",
        "not " * 500 + "flag",
        "lr > " + "1" * 30_000,
    ],
)
def test_nothing_else_is_evaluated(text: str) -> None:
    """Calls, attributes, comprehensions, powers and broken texts are refused with the text in the message."""
    with pytest.raises(InputError, match="condition"):
        Where(text)


def test_a_name_that_no_run_has_is_a_slip() -> None:
    """And not an empty answer; a name that only some have is fine."""
    runs = [("a", {"lr": 1}), ("b", {"net": "x"})]

    assert choose(runs, "lr == 1") == ["a"]
    with pytest.raises(NameNotFound, match=r"no run has 'rl'.*'lr'"):
        choose(runs, "rl == 1")


def test_no_runs_give_no_runs() -> None:
    """An empty store has no names, so nothing can be a slip."""
    assert choose([], "lr == 1") == []
