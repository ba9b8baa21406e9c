"""What can be logged comes back exactly, from Hindsight and from plain DuckDB; what cannot is refused by name."""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import tracker
from tests.record import reading
from tracker.errors import BadName, UnstorableValue
from tracker.record.run import Run
from tracker.store.base import Store
from tracker.store.open import open_store


class Phase(enum.IntEnum):
    """An enum of integers, as users have them."""

    TRAIN = 3


class Mode(enum.StrEnum):
    """An enum of texts."""

    FAST = "fast"


class Tensor:
    """A scalar as array libraries have it: without dimensions, with ``item``."""

    shape = ()

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        """The Python scalar, or the library's own error."""
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class Opaque:
    """What no column can hold, and what does not even show itself."""

    shape = 5

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "store")


@pytest.fixture
def run(store: Store) -> Iterator[Run]:
    """An open run."""
    with tracker.run(store=store.url, capture=()) as opened:
        yield opened


def bits(value: Any) -> Any:
    """A value with its type, and floats by their bits."""
    if isinstance(value, float):
        return ("float", struct.pack("<d", value) if not math.isnan(value) else "nan")
    if isinstance(value, list):
        return [bits(item) for item in value]
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return (type(value).__name__, value)


def read_back(store: Store, run: Run) -> list[Any]:
    """The values of ``x``, alive and sealed, which must be the same."""
    alive = reading.values(store, run.id, "x")
    tracker.finish()
    sealed = reading.values(store, run.id, "x")
    assert bits(alive) == bits(sealed)
    return sealed


SERIES: dict[str, list[Any]] = {
    "floats": [0.1, -0.0, 0.0, 1e308, 5e-324, 2.5e-310, math.pi, float(2**53)],
    "special floats": [math.nan, math.inf, -math.inf, -0.0],
    "single precision": [0.5, -0.0, math.inf, math.nan, float(np.float32(0.1)), 2.0**-149],
    "integers": [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)],
    "large integers": [2**63, -(2**63) - 1, 5, 10**4000 - 1],
    "bools": [True, False],
    "bools and integers": [True, 1, False, 0],
    "bools and floats": [True, 1.0, 0.0],
    "large integers and floats": [2**53 + 1, 0.5, -0.0, math.nan, math.inf],
    "huge integers and floats": [2**70, 0.5],
    "texts": ["", "it's", 'quote"', "ü 日本 🎉", "null", "\x00\n\r", "x" * 100_000],
    "bytes": [b"", b"\x00\xff", bytes(range(256))],
    "nothing": [None, None],
    "texts and nothing": ["a", None, "b"],
    "floats and nothing": [0.5, None, math.nan],
    "nested": [[1, [2.5, None], {"a": b"\x00", "b": {"c": True}}], {}, []],
    "nested oddities": [[math.nan, math.inf, -0.0, 2**80, "\ud800", 2**53 + 1]],
    "nested look-alikes": [{"$bytes": "aGk="}, {"$$bytes": "x"}, {"$": 1}, {"$bytes": {"$bytes": b"hi"}}, b"hi"],
    "everything": [1, "1", 1.0, True, None, b"1", [1], {"1": 1}, 2**70, math.nan, "\udcff"],
}


@pytest.mark.parametrize("values", SERIES.values(), ids=SERIES)
def test_values_come_back_exactly(store: Store, run: Run, values: list[Any]) -> None:
    """Type and bits of every value, also in mixtures within one column."""
    for value in values:
        assert tracker.log("x", value) is value

    assert bits(read_back(store, run)) == bits(values)


def test_small_integers_among_floats_are_floats(store: Store, run: Run) -> None:
    """They are exactly representable, so a column stays a column of numbers."""
    for value in (1, 0.5, 2**53, -(2**53)):
        tracker.log("x", value)

    assert bits(read_back(store, run)) == bits([1.0, 0.5, float(2**53), -float(2**53)])


def test_lone_surrogates_in_texts_are_shown_as_escapes(store: Store, run: Run) -> None:
    """Columns of texts are UTF-8, which has no form for them; nothing raises and neighbours are untouched."""
    for value in ("a", "\ud800b", "c"):
        tracker.log("x", value)

    assert read_back(store, run) == ["a", "\\ud800b", "c"]


UNWRAPPED: list[tuple[Any, Any]] = [
    (np.float64(0.1), 0.1),
    (np.float32(0.1), float(np.float32(0.1))),
    (np.float16(0.1), float(np.float16(0.1))),
    (np.int8(-5), -5),
    (np.uint64(2**64 - 1), 2**64 - 1),
    (np.bool_(True), True),
    (np.str_("text"), "text"),
    (np.bytes_(b"raw"), b"raw"),
    (np.array(3.5), 3.5),
    (np.array(7), 7),
    (Phase.TRAIN, 3),
    (Mode.FAST, "fast"),
    (Tensor(0.25), 0.25),
    (Tensor(True), True),
    ((1, 2), [1, 2]),
    ([np.float32(0.5), np.int64(2), Phase.TRAIN], [0.5, 2, 3]),
    ({"a": np.float64(1.5)}, {"a": 1.5}),
]


@pytest.mark.parametrize(("value", "stored"), UNWRAPPED)
def test_scalars_of_array_libraries_and_enums_are_unwrapped(store: Store, run: Run, value: Any, stored: Any) -> None:
    """The call gives back what it was given; what is stored is the plain value."""
    assert tracker.log("x", value) is value

    assert bits(read_back(store, run)) == bits([stored])


UNSTORABLE = [
    object(), {1, 2}, 1j, lambda: 1, np.zeros(3), np.datetime64("2020-01-01"), np.complex64(1), np.longdouble("0.1"),
    [object()], {"a": {1}}, {1: "a"}, {("a",): 1}, 10**4001, -(2**20000), [10**5000], Tensor(RuntimeError("no data")),
    Tensor([1]), Opaque(), "x" * (1 << 20) + "y", b"x" * ((1 << 20) + 1), ["x" * (1 << 20)], type, range(3),
]  # fmt: skip


@pytest.mark.parametrize("value", UNSTORABLE, ids=range(len(UNSTORABLE)))
def test_what_cannot_be_stored_is_refused_by_name_and_costs_nothing_else(store: Store, run: Run, value: Any) -> None:
    """The error names the metric; the values before and after it are there."""
    tracker.log("x", 1)
    with pytest.raises(UnstorableValue, match="'x'") as caught:
        tracker.log("x", value)
    tracker.log("x", 2)

    assert len(str(caught.value)) < 500
    assert isinstance(caught.value, TypeError)
    assert read_back(store, run) == [1, 2]


def test_a_value_that_contains_itself_is_refused(run: Run) -> None:
    """No endless recursion."""
    value: list[Any] = []
    value.append(value)

    with pytest.raises(UnstorableValue, match="nested more than"):
        tracker.log("x", value)


def test_refused_values_can_be_warnings_that_are_counted(store: Store) -> None:
    """With ``on_error="warn"`` the program goes on with the value it had, and the end says how many were refused."""
    with tracker.run(store=store.url, capture=(), on_error="warn") as run:
        for value in ([1], object(), 2.5):
            if type(value) is object:
                with pytest.warns(RuntimeWarning, match="cannot hold"):
                    assert tracker.log("x", value) is value
            else:
                tracker.log("x", value)

    assert run.recorder.dropped["refused"] == 1
    assert reading.values(store, run.id, "x") == [[1], 2.5]


NAMES = [5, None, "", "@x", "_hindsight_x", "a\nb", "x" * 201, b"x", ["x"], {"x": 1}, "\ud800", object()]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("value", [0.5, 1, "text"])
def test_bad_names_are_refused(run: Run, name: Any, value: Any) -> None:
    """Also where they cannot be hashed, whatever the value."""
    with pytest.raises(BadName, match="name of a metric"):
        tracker.log(name, value)


@pytest.mark.parametrize(
    "name", ["it's", "a/b", "a.b", "a__b", "größe", 'say "x"', "loss{layer=1}", "_time", "x" * 200]
)
def test_odd_names_are_kept_apart(store: Store, run: Run, name: str) -> None:
    """Any printable text is a name of its own."""
    for number, other in enumerate((name, "a_b", "loss")):
        tracker.log(other, number)

    assert reading.values(store, run.id, name) == [0]


LABELS: list[Any] = [
    [1], math.nan, math.inf, 2**63, "x" * 1001, "\ud800", b"x", {"a": 1}, np.zeros(2), object(), 1j,
]  # fmt: skip


@pytest.mark.parametrize("label", LABELS, ids=range(len(LABELS)))
def test_bad_labels_are_refused(store: Store, run: Run, label: Any) -> None:
    """Labels are names: short, finite, and the same in every journal."""
    with pytest.raises(UnstorableValue, match="label 'layer'"):
        tracker.log("x", 1.0, layer=label)
    with pytest.raises(BadName, match="a label"):
        tracker.log("x", 1.0, **{"": 1})
    with pytest.raises(UnstorableValue, match="too many"):
        tracker.log("x", 1.0, **{f"label{number}": 1 for number in range(51)})
    tracker.log("x", 1.0, layer=3)

    assert read_back(store, run) == [1.0]


def test_metrics_whose_columns_look_alike_are_not_merged(store: Store, run: Run) -> None:
    """A name with braces and a name with labels, a text and a number as label: four metrics."""
    tracker.log("x{a=1}", 1)
    tracker.log("x", 2, a=1)
    tracker.log("x", 3, a="1")
    tracker.log("x", 4, b=1, a=1)
    tracker.log("x", 5, a=1, b=1)

    found = {cell.metric: cell.value for cell in reading.cells(store, run.id) if cell.row == 0}
    assert found == {
        reading.identity("x{a=1}", {}): 1,
        reading.identity("x", {"a": 1}): 2,
        reading.identity("x", {"a": "1"}): 3,
        reading.identity("x", {"a": 1, "b": 1}): 4,
    }


def test_long_labels_in_small_journals_end(store: Store) -> None:
    """Names that fill a journal's heap alone get one that is large enough."""
    with tracker.run(store=store.url, capture=(), journal_bytes=4096) as run:
        for number in range(20):
            tracker.log("x", number, **{f"label{i}": f"{number}" + "y" * 900 for i in range(50)})

    assert sorted(reading.values(store, run.id, "x")) == list(range(20))


def test_sealed_segments_are_plain_parquet(store: Store, run: Run) -> None:
    """DuckDB reads loops, steps, metrics and labels by SQL, without any code of ours."""
    for epoch in tracker.loop("epoch", range(3)):
        for step in tracker.loop("step", range(4)):
            with tracker.step(phase="train" if step else "warm-up"):
                tracker.log("loss", epoch + step / 4)
                tracker.log("norm", step, layer=1)
    tracker.finish()

    found = duckdb.sql(
        f"SELECT epoch, step, phase, loss, \"norm{{layer=1}}\" FROM '{store.url}/runs/*/data/epoch.step/*.parquet'"
        " ORDER BY epoch, step"
    ).fetchall()
    assert found == [
        (epoch, step, "train" if step else "warm-up", epoch + step / 4, step) for epoch in range(3) for step in range(4)
    ]


def test_kinds_have_their_own_parquet_types(store: Store, run: Run) -> None:
    """Numbers are numbers, exact in single precision where that suffices; NaN, infinity and NULL stay apart."""
    for value in (0.5, math.nan, math.inf):
        tracker.log("narrow", value)
        tracker.log("wide", value / 3)
        tracker.log("count", 2**60)
    tracker.log("digits", 2**70)
    tracker.finish()

    relation = duckdb.sql(f"SELECT * FROM '{store.url}/runs/*/data/@run/*.parquet'")
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    assert (types["narrow"], types["wide"], types["count"], types["digits"]) == ("FLOAT", "DOUBLE", "BIGINT", "VARCHAR")
    narrow = [row[0] for row in relation.project("narrow").fetchall()]
    assert (narrow[0], math.isnan(narrow[1]), narrow[2]) == (0.5, True, math.inf)
    assert [row[0] for row in relation.project("digits").fetchall()] == [str(2**70), None, None]
