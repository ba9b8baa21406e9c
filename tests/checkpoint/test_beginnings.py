"""Objects that were there when the loop began: changed ones are changed back in place, replaced ones stay."""

from __future__ import annotations

import gc
import weakref

import numpy as np

from tracker.checkpoint.beginnings import Beginning, existing
from tracker.checkpoint.tree import MISSING
from tracker.checkpoint.variables import Variables


def test_what_is_kept_replaced_and_swapped() -> None:
    """By the names of the beginning; a function that did not run then says nothing."""
    first, second, weights = [1], [2], np.zeros(2)
    beginning = Beginning([Variables("main", "f.py", {"a": first, "b": second, "w": weights, "n": 1})])

    found = beginning.kept(0, Variables("main", "f.py", {"a": second, "b": [3], "w": weights, "n": 1}))

    assert found == {"a": "b", "w": "w"}
    assert beginning.kept(1, Variables("train", "f.py", {"a": first})) is None


def test_where_a_state_goes() -> None:
    """Into the object of the beginning, into nothing, or into what is there where it cannot matter."""
    began = {"a": [1], "b": [2]}

    assert existing({"a": "b"}, "a", began, [3]) is began["b"]
    assert existing({}, "a", began, [3]) is MISSING
    assert existing({}, "n", began, 5) == 5
    assert existing(None, "a", began, 5) == 5


def test_arrays_are_not_kept_in_memory() -> None:
    """One that the loop replaced is gone, as it would be without the tracker."""
    weights = np.zeros(2)
    beginning = Beginning([Variables("main", "f.py", {"w": weights})])
    watched = weakref.ref(weights)

    del weights
    gc.collect()

    assert watched() is None
    assert beginning.kept(0, Variables("main", "f.py", {"w": np.zeros(2)})) == {}
