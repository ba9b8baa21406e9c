"""Texts for people, and values as JSON."""

from __future__ import annotations

import doctest
import json
import math
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.cli import failures, forms, texts
from tracker.cli.console import Column, fitting


@pytest.mark.parametrize("module", [failures, forms, texts], ids=lambda module: str(module.__name__))
def test_examples(module: object) -> None:
    """The examples in the docstrings are true."""
    result = doctest.testmod(module)  # type: ignore[arg-type]

    assert result.attempted > 0
    assert result.failed == 0


_plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes()
_nested = st.recursive(_plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(_nested)
def test_every_value_has_a_valid_form(value: object) -> None:
    """Whatever was logged becomes JSON that any reader takes, lone surrogates included."""
    text = json.dumps(forms.plain(value), allow_nan=False, ensure_ascii=False)

    assert json.loads(text.encode("utf-8")) == forms.plain(value)


def test_forms_of_single_values() -> None:
    """Values that JSON lacks have the forms that the help promises."""
    moment = datetime(2026, 1, 31, 13, 0, tzinfo=timezone(timedelta(hours=1)))

    assert forms.plain([math.inf, -math.inf, np.float32(0.5), np.int64(3), 2**80]) == [
        "Infinity",
        "-Infinity",
        0.5,
        3,
        2**80,
    ]
    assert forms.plain([moment, date(2026, 1, 31), timedelta(minutes=2)]) == [
        "2026-01-31T12:00:00.000Z",
        "2026-01-31",
        120.0,
    ]


@given(st.floats(min_value=0, max_value=1e9))
def test_durations_are_short(seconds: float) -> None:
    """A duration always has a text, and never a surprising one such as 60 s."""
    text = texts.duration_text(seconds)

    assert 0 < len(text) <= 14
    assert " 60 s" not in f" {text}"
    assert "60 min" not in text


@given(st.text())
def test_lines_never_steer_the_terminal(text: str) -> None:
    """Stored text cannot move the cursor, change the title or begin a new line."""
    assert texts.shorten(text, 40).isprintable()
    assert texts.safe_line(text).isprintable()
    assert len(texts.shorten(text, 40)) <= 40


def test_local_time_is_that_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times for people are in their zone, which is named."""
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert texts.local_time(datetime(2026, 1, 31, 12, 0, tzinfo=UTC)) == "2026-01-31 21:00:00"
        assert texts.zone_name() == "JST"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_columns_give_way_by_rank() -> None:
    """Of what does not fit, the highest rank goes first, from the right; rank 0 always stays."""
    columns = [
        Column("a", ["x" * 10]),
        Column("b", ["x" * 10], rank=1),
        Column("c", ["x" * 10], rank=2),
        Column("d", ["y"], rank=2),
    ]

    assert [column.head for column in fitting(columns, 100)] == ["a", "b", "c", "d"]
    assert [column.head for column in fitting(columns, 34)] == ["a", "b", "c"]
    assert [column.head for column in fitting(columns, 24)] == ["a", "b"]
    assert [column.head for column in fitting(columns, 3)] == ["a"]
