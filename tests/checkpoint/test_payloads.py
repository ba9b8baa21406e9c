"""Large arguments as files of standard formats: the same value comes back, and damage is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tracker.checkpoint.payloads import describe, payload_of, read_payload
from tracker.errors import DamagedDocument

FRAME = pd.DataFrame(
    {"a": [1, 2, 3], "b": ["x", None, "z"], "when": pd.to_datetime(["2024-01-01"] * 3, utc=True)},
    index=pd.Index([7, 8, 9], name="key"),
)


def again(value: Any) -> Any:
    """The value after it was a payload."""
    payload = payload_of(value, max_bytes=1 << 20)
    assert payload is not None
    return read_payload(payload.type, payload.data)


def test_tables_and_arrays_come_back_as_they_were() -> None:
    """Index, missing values, time zones, orders of axes and empty ones, too."""
    pd.testing.assert_frame_equal(again(FRAME), FRAME)
    assert again(pa.table({"x": [1, 2]})).equals(pa.table({"x": [1, 2]}))
    assert again(pl.DataFrame({"x": ["a", None]})).equals(pl.DataFrame({"x": ["a", None]}))
    for array in (np.arange(6.0).reshape(2, 3).T, np.zeros((0, 4)), np.array(["a", "bc"]), np.array(3)):
        found = again(array)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert np.array_equal(found, array)


@pytest.mark.parametrize("value", [1, [1, 2], np.array([object()]), pd.DataFrame({"x": [1, "a", object()]})])
def test_what_has_no_such_form_goes_another_way(value: Any) -> None:
    """Plain values, and columns of objects."""
    assert payload_of(value, max_bytes=1 << 20) is None


def test_what_is_too_large_is_only_described() -> None:
    """Nothing of that size is copied."""
    assert payload_of(np.zeros(1000), max_bytes=1000) is None


@pytest.mark.parametrize("kind", ["pandas.DataFrame", "numpy.ndarray", "builtins.eval"])
def test_foreign_bytes_are_told(kind: str) -> None:
    """Nothing of a store is executed, whatever it says that it is."""
    with pytest.raises(DamagedDocument):
        read_payload(kind, b"\x80\x04cos\nsystem\n(S'true'\ntR.")


def test_descriptions_say_what_a_value_is() -> None:
    """Short plain values stand for themselves, others have a type and what can be seen."""
    assert describe({"a": [1, 2.5, None]}) == {"a": [1, 2.5, None]}
    assert describe(FRAME)["schema"]["a"] == "int64"
    assert describe(list(range(10_000))) == {"type": "list", "length": 10_000}
    assert describe(ValueError("x")) == {"type": "ValueError", "text": "ValueError('x')"}
    assert describe({3, 1, 2}) == [1, 2, 3]
