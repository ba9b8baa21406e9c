"""Arrays as dtype, shape and bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.checkpoint import arrays, atoms, restoring
from tracker.checkpoint.state import capture, restore
from tracker.checkpoint.tensors import TensorData, check, from_numpy, memory_order, to_numpy
from tracker.errors import DamagedDocument, HindsightError, MissingExtra


def test_the_digest_is_of_dtype_shape_and_bytes() -> None:
    """Not of the order in memory, which the tree says."""
    array = np.arange(6, dtype="f4").reshape(2, 3)
    digest = from_numpy(array)[0].digest

    assert from_numpy(array[::-1][::-1])[0].digest == digest
    assert from_numpy(array.reshape(3, 2))[0].digest != digest
    assert from_numpy(array.view("i4"))[0].digest != digest


@settings(deadline=None)
@given(st.permutations(range(4)), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_any_order_in_memory_survives(axes: list[int], shape: list[int]) -> None:
    """Sums depend on it in their last bits."""
    array = np.arange(np.prod(shape), dtype="f8").reshape(shape).transpose(axes)

    again = to_numpy(*from_numpy(array))

    assert again.tolist() == array.tolist()
    orders = [memory_order(each.strides, each.shape) or [*range(4)] for each in (again, array)]
    runs = [[axis for axis in order if array.shape[axis] > 1] for order in orders]  # the place of others means nothing
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    "tensor", [TensorData("F32", (2,), b"1234"), TensorData("F33", (1,), b""), TensorData("U8", (-1,), b"")]
)
def test_impossible_tensors_are_refused(tensor: TensorData) -> None:
    """Bytes that do not fill the shape, an unknown dtype, a negative size."""
    with pytest.raises(DamagedDocument, match="cannot have"):
        check(tensor)


def test_dtypes_of_torch_alone_need_it() -> None:
    """The error names the extra."""
    with pytest.raises(MissingExtra, match=r"\[torch\]"):
        to_numpy(TensorData("BF16", (1,), b"12"), {"torch": "bfloat16"})


MARKS = sorted({*restoring._READERS, *atoms.READERS, *arrays.MARKS, *arrays.GENERATORS, "$ref", "$registered"})
FIELDS = [
    "a",
    "dtype",
    "shape",
    "axes",
    "kind",
    "maxlen",
    "items",
    "state",
    "factory",
    "member",
    "class",
    "fold",
    "zone",
    "torch",
    "device",
]
json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 700) | st.text("ab:.<>0f", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MARKS, *FIELDS]), inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None)
@given(json)
def test_any_tree_gives_a_value_or_an_error_of_ours(tree: Any) -> None:
    """Whatever a store says."""
    tensors = [TensorData("U8", (8,), bytes(8)), TensorData("F64", (1,), bytes(8))]

    try:
        restore(tree, tensors)
    except HindsightError:
        return


@settings(deadline=None)
@given(st.data())
def test_a_changed_tree_gives_a_value_or_an_error_of_ours(data: Any) -> None:
    """One that was written by us, with something put in its place."""
    tensors: list[TensorData] = []
    value = {"a": np.zeros((2, 2)).T, "b": (1, {2, 3}), "c": np.random.default_rng(1), "d": [1.5] * 70, "e": b"x" * 70}
    tree = msgspec.json.decode(msgspec.json.encode(capture(value, tensors)))
    node = tree
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            node[key] = data.draw(json)
            break
        node = node[key]

    try:
        restore(tree, tensors)
    except HindsightError:
        return
