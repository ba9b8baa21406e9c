"""Metrics out of captured text."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import InputError
from tracker.record.extract import extract, preview

LINES = ["start", "epoch 1: loss=0.5 acc: 90%", "epoch 2: loss=nan lr=1e-3", "done in 3.5 s"]


def values(lines: list[str], pattern: str | None = None) -> list[tuple[int, str, object]]:
    """Line, name and value of what is found."""
    return [(found.line, found.name, found.value) for found in extract(lines, pattern)]


def test_pairs_are_found_without_a_pattern() -> None:
    """Every name with a number behind = or : is a metric."""
    found = values(["loss=0.5, val/acc: 91 lr = 1e-3", "n=-3 big=1_000 x=.5 y=+2. t=12:30 v=1.2.3 hash=3af at 10:15"])

    assert found == [
        (0, "loss", 0.5),
        (0, "val/acc", 91),
        (0, "lr", 1e-3),
        (1, "n", -3),
        (1, "big", 1000),
        (1, "x", 0.5),
        (1, "y", 2.0),
        (1, "t", 12),
    ]


def test_named_groups_are_metrics() -> None:
    """Each named group of each match gives a value of its own type; groups that take no part give none."""
    pattern = r"epoch (?P<epoch>\d+): loss=(?P<loss>\S+)(?: acc: (?P<acc>\S+))?"

    found = values(LINES, pattern)
    assert found[:3] == [(1, "epoch", 1), (1, "loss", 0.5), (1, "acc", "90%")]
    assert found[3] == (2, "epoch", 2)
    assert isinstance(found[4][2], float)
    assert math.isnan(found[4][2])
    assert len(found) == 5


def test_positions_point_at_the_value() -> None:
    """Where a value stands in its line can be shown."""
    (found,) = extract(["a loss=0.25 b"])

    assert "a loss=0.25 b"[found.start : found.stop] == "0.25"


@pytest.mark.parametrize("pattern", ["(", "loss", re.compile(b"(?P<a>x)")])
def test_patterns_that_cannot_be_used_are_refused_at_once(pattern: str) -> None:
    """The error comes with the call, not with the first line, and says what is wrong."""
    with pytest.raises(InputError, match=r"loss|\(|bytes"):
        extract([], pattern)


def test_preview_shows_lines_with_their_values() -> None:
    """A pattern can be tried on a long output without reading all of it."""
    endless = (f"step {number} loss={number}" for number in iter(int, 1))

    assert preview(LINES, r"loss=(?P<loss>\S+)") == [
        "epoch 1: loss=0.5 acc: 90%  →  loss=0.5",
        "epoch 2: loss=nan lr=1e-3  →  loss=nan",
    ]
    assert len(preview(endless, limit=3)) == 3


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.floats() | st.integers(), max_size=5))
def test_what_was_printed_is_found_exactly(metrics: dict[str, float]) -> None:
    """Numbers printed with their names come back as they were."""
    line = " ".join(f"{name}={value!r}" for name, value in metrics.items())

    assert repr({found.name: found.value for found in extract([line])}) == repr(metrics)
