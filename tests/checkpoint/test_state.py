"""Values survive capture and restore exactly, in place, and without running anything."""

from __future__ import annotations

import datetime as dt
import enum
import math
import random
import struct
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.checkpoint.state import MISSING, Capturing, Restoring, capture, restore
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import pickled_paths
from tracker.errors import DamagedDocument, Uncapturable, Untrusted

Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = 1


@dataclass
class Config:
    rate: float
    sizes: list[int]


class Custom:
    def __init__(self) -> None:
        self.number = 1


def through(value: Any, existing: Any = MISSING, **options: Any) -> Any:
    """The value after capture, JSON and restore."""
    tensors: list[TensorData] = []
    tree = capture(value, tensors, **options)
    stored = msgspec.json.decode(msgspec.json.encode(tree))
    return restore(stored, tensors, existing, trust=options.get("allow_pickle", False))


atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.timedeltas()
    | st.uuids()
)
hashable = st.recursive(atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.dictionaries(st.text(st.sampled_from("$a.")), inner, max_size=4)
        | st.sets(hashable, max_size=4)
        | st.builds(deque, st.lists(inner, max_size=4), st.none() | st.integers(0, 3))
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(values)
def test_plain_values_survive(value: Any) -> None:
    """Equal, of equal types, in equal order."""
    again = through(value)

    assert again == value
    assert repr(again) == repr(value) or isinstance(value, set | dict | list | tuple | deque)


@settings(deadline=None)
@given(values, values)
def test_an_existing_value_never_shows_through(value: Any, existing: Any) -> None:
    """Whatever was there before, the result is what was captured."""
    assert through(value, existing) == value


@pytest.mark.parametrize(
    "value",
    [
        2**200,
        -(2**63) - 1,
        -0.0,
        math.inf,
        "\ud800 lone",
        {"$ref": 0, "$tensor": 3},
        bytearray(b"x" * 100),
        range(0, 10**30, 7),
        slice(None, 5),
        ...,
        defaultdict(list, a=[1]),
        OrderedDict(b=1, a=2),
        Counter("hello"),
        Decimal("sNaN12"),
        Fraction(1, 3),
        Path("a/b"),
        PureWindowsPath("c:/x"),
        UUID(int=5),
        dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")),
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        dt.time(1, 2),
        [0.1 * n for n in range(200)],
        list(range(-100, 100)),
        [2**70] * 100,
        Colour.RED,
        Point(1, [2]),
        int,
        np.float32,
        np.dtype([("a", "<i4"), ("b", "<f8", (2,))]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_special_values_survive(value: Any) -> None:
    """Each comes back as the same type with the same text."""
    again = through(value)

    assert type(again) is type(value)
    assert repr(again) == repr(value)


def test_not_a_number_keeps_its_bits() -> None:
    """There are many of them, and all are kept."""
    odd = struct.unpack(">d", bytes.fromhex("fff8000000000abc"))[0]

    assert struct.pack(">d", through([odd])[0]).hex() == "fff8000000000abc"


def test_dataclasses_are_changed_in_place() -> None:
    """And made anew only with trust."""
    existing, sizes = Config(0.5, []), [1]
    existing.sizes = sizes

    assert through(Config(0.1, [3]), existing) is existing
    assert existing == Config(0.1, [3])
    assert existing.sizes is sizes
    assert through(Config(0.1, [3]), allow_pickle=True) == existing
    with pytest.raises(Untrusted, match="Config"):
        through(existing)


def test_shared_parts_stay_shared() -> None:
    """One list twice is one list, and a list in itself is in itself."""
    inner: list[Any] = [1]
    value = {"a": inner, "b": (inner, inner)}
    inner.append(value)

    again = through(value)

    assert again["a"] is again["b"][0] is again["b"][1]
    assert again["a"][1] is again


def test_names_share_what_they_shared() -> None:
    """Two locals that are one list are one list afterwards."""
    tensors: list[TensorData] = []
    capturing, restoring = Capturing(tensors), Restoring(tensors)
    shared = [1.5]
    trees = {name: capturing.take(shared, name) for name in ("first", "second")}

    again = {name: restoring.give(tree, name=name) for name, tree in trees.items()}

    assert again["first"] is again["second"] == [1.5]


def test_two_values_do_not_become_one() -> None:
    """Where one object stands for what were two, the second value gets an object of its own."""
    tensors: list[TensorData] = []
    capturing, restoring = Capturing(tensors), Restoring(tensors)
    trees = {"old": capturing.take(np.zeros(3), "old"), "now": capturing.take(np.ones(3), "now")}
    both = np.full(3, 7.0)

    old, now = (restoring.give(trees[name], both, name) for name in ("old", "now"))

    assert old.tolist() == [0, 0, 0]
    assert now.tolist() == [1, 1, 1]


def test_views_of_one_array_stay_views() -> None:
    """Values that overlap and agree are written in place; those that do not agree are not."""
    tensors: list[TensorData] = []
    capturing, restoring = Capturing(tensors), Restoring(tensors)
    whole = np.arange(6.0)
    trees = [capturing.take(part, str(n)) for n, part in enumerate((whole[:3], whole, np.full(2, 9.0)))]
    now = np.zeros(6)
    first, second = now[:3], now[4:]

    again = [restoring.give(trees[n], place, str(n)) for n, place in enumerate((first, now, second))]

    assert again[0] is first
    assert again[1] is now
    assert again[2].tolist() == [9, 9]
    assert now.tolist() == [0, 1, 2, 3, 4, 5]


def test_registered_objects_are_only_named() -> None:
    """A value that holds a registered object gets that object back, whatever it is."""
    net, tensors = object(), []
    tree = Capturing(tensors, registered={"net": net}).take([net], "pair")
    other = object()

    assert Restoring(tensors, registered={"net": other}).give(tree, name="pair")[0] is other


def test_containers_are_changed_in_place() -> None:
    """Aliases of existing containers and arrays see the restored values."""
    array, inner = np.zeros((2, 2)), {"x": 0, "gone": 1}
    existing = {"array": array, "inner": inner, "list": [5], "set": {9}, "queue": deque([1])}
    parts = dict(existing)

    again = through({"array": np.eye(2), "inner": {"x": 1}, "list": [6, 7], "set": {8}, "queue": deque([2])}, existing)

    assert again is existing
    assert all(again[name] is part for name, part in parts.items())
    assert inner == {"x": 1}
    assert array.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24).reshape(2, 3, 4)[:, ::-1, ::2],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0),
        np.array(3.5),
        np.zeros((0, 3), np.int8),
        np.array([True, False]),
        np.array([1 + 2j], np.complex64),
        np.array(["2026-01-01", "NaT"], "M8[ms]"),
        np.array(["text", "é"]),
        np.array([b"raw"]),
        np.array([(1, 2.0)], [("a", ">i2"), ("b", "f8")]),
        np.array([1, 2], ">u4"),
        np.array([1], np.float16),
        np.broadcast_to(np.arange(3), (2, 3)),
        np.array([[1, "two"], [None, (3,)]], object),
        np.zeros(2, "U0"),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_arrays_survive(array: Any) -> None:
    """Dtype, shape, values and the order in memory, whatever the dtype; and the copy is their own."""
    again = through(array)

    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tolist() == array.tolist()
    assert again.flags.writeable
    if array.size > 1 and 0 not in array.strides:
        assert (
            np.argsort([-abs(s) for s in again.strides]).tolist()
            == np.argsort([-abs(s) for s in array.strides]).tolist()
        )


@pytest.mark.parametrize(
    "scalar", [np.float32(0.1), np.int8(-3), np.bool_(True), np.datetime64("2026-01-01"), np.str_("")]
)
def test_numpy_scalars_survive(scalar: Any) -> None:
    """Their types, too."""
    again = through([scalar])[0]

    assert type(again) is type(scalar)
    assert again == scalar


def test_the_copy_is_of_this_moment() -> None:
    """Changes after the capture do not reach it."""
    array, tensors = np.zeros(3), []
    tree = capture([array], tensors)
    array[:] = 1

    assert restore(tree, tensors)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_generators_continue(kind: Any) -> None:
    """In place and anew they draw what the captured one would have drawn."""
    generator, other = np.random.Generator(kind(1)), np.random.Generator(kind(2))
    generator.integers(5, dtype=np.int32)
    tensors: list[TensorData] = []
    tree = capture(generator, tensors)
    expected = generator.random(5).tolist()

    assert restore(tree, tensors, other) is other
    assert other.random(5).tolist() == expected
    assert restore(tree, tensors).random(5).tolist() == expected


def test_other_generators_continue() -> None:
    """Those of Python and NumPy's old ones, with the normal number that they keep for the next call."""
    python, old = random.Random(3), np.random.RandomState(4)
    python.gauss(0, 1)
    old.normal()
    tensors: list[TensorData] = []
    tree = capture([python, old], tensors)

    again = restore(tree, tensors)

    assert [again[0].gauss(0, 1) for _ in range(3)] == [python.gauss(0, 1) for _ in range(3)]
    assert again[1].normal(size=3).tolist() == old.normal(size=3).tolist()


def test_what_does_not_fit_is_named() -> None:
    """The error says where it stands, and nothing was appended."""
    tensors: list[TensorData] = []

    with pytest.raises(Uncapturable, match=r"\[0\]\.x.*Custom") as caught:
        capture([{"a": np.zeros(3), "x": Custom()}], tensors)

    assert caught.value.path == "[0].x"
    assert not tensors


@pytest.mark.parametrize("value", [np.zeros(10_000), "x" * 10_000, [1] * 10_000, {"a": b"x" * 10_000}])
def test_too_large_a_value_is_refused(value: Any) -> None:
    """Before it is copied."""
    with pytest.raises(Uncapturable, match="exceeds"):
        capture(value, [], max_bytes=5000)


def test_deep_values_are_refused() -> None:
    """Rather than a recursion error."""
    value: list[Any] = []
    for _ in range(5000):
        value = [value]

    with pytest.raises(Uncapturable, match="deeper"):
        capture(value, [])


def test_pickle_is_the_last_resort_and_needs_trust() -> None:
    """It is marked, listed, and never loaded without trust."""
    tensors: list[TensorData] = []
    tree = capture({"a": [Custom()]}, tensors, allow_pickle=True)

    assert pickled_paths(tree, "local.x") == ["local.x.a[0]"]
    with pytest.raises(Untrusted, match="trust=True"):
        restore(tree, tensors)
    assert restore(tree, tensors, trust=True)["a"][0].number == 1


@pytest.mark.parametrize(
    "tree",
    [
        {"$tensor": 5},
        {"$ref": 0},
        {"$nothing": 1},
        {"$tuple": 3},
        {"$int": "zz"},
        {"$datetime": "soon"},
        {"$enum": "os:path", "member": "x"},
        {"$namedtuple": "os:system", "items": []},
        {"$global": "os:system"},
        {"$object": "subprocess:Popen", "state": []},
        {"$object": "tests:missing", "state": []},
        {"$generator": "__class__", "state": {}},
        {"$dtype": "__import__('os')"},
        {"$scalar": "00", "dtype": "'O'"},
        {"$registered": "net"},
        {"$mapping": "dict", "items": []},
        {"$tensor": 0, "dtype": "'O'", "shape": [1]},
        {"$tensor": 0, "shape": [10**12], "dtype": "'<f8'"},
        {"$tensor": 0, "axes": [4, 5]},
        {"$path": "x", "kind": "open"},
    ],
)
def test_hostile_trees_are_refused(tree: Any) -> None:
    """With an error of ours, and without running or importing what they name."""
    tensors = [TensorData("U8", (8,), bytes(8))]

    with pytest.raises((DamagedDocument, Untrusted)):
        restore(tree, tensors)
