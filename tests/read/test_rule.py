"""The rule for repeated values, against a model of a few lines, for random records, boundaries, shards and kinds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.read.building import It, Key, Logged, Writer, make_run
from tracker.read.frame import dataframe
from tracker.read.reader import Reader
from tracker.store.base import Store
from tracker.store.ids import new_id
from tracker.store.memory import MemoryStore

COLUMNS = ["epoch", "step", "fold", "phase"]
NAMES = ["loss", "it's", 'n{"a"}']

epochs = st.integers(0, 2).map(lambda n: It("epoch", n))
inner = st.integers(0, 3).map(lambda n: It("step", n))
folds = st.integers(0, 1).map(lambda n: It("fold", n, ["north", "süd"][n]))
shifted = st.integers(0, 2).map(lambda n: It("step", n, n + 10))
phases = st.sampled_from([Key("phase", "train"), Key("phase", "test"), Key("phase", 1)])
contexts = st.one_of(
    st.tuples(epochs),
    st.tuples(epochs, inner),
    st.tuples(epochs, inner, phases),
    st.tuples(folds, shifted),
    st.tuples(phases),
)
numbers = st.one_of(st.floats(width=32), st.integers(-5, 5))
values = st.one_of(
    numbers,
    numbers,
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.binary(max_size=2),
    st.integers(-(2**70), 2**70),
    st.lists(st.integers(0, 3), max_size=2),
)
labels = st.sampled_from([{}, {}, {}, {"layer": 1}, {"layer": "1"}])
record_lists = st.lists(
    st.tuples(st.integers(0, 1), st.builds(Logged, contexts, st.sampled_from(NAMES), values, labels)), max_size=24
)


def fresh_store() -> MemoryStore:
    return MemoryStore(f"rule-{new_id()}")


def write(store: Store, records: list[tuple[int, Logged]], cuts: list[int]) -> list[Logged]:
    """Write the records of two shards, sealed at the cuts; returns them in the order that readers see."""
    run = make_run(store)
    ordered = []
    for shard, suffix in enumerate(["", "00000001"]):
        own = [record for number, record in records if number == shard]
        ordered += own
        writer = Writer(store, run, run, suffix)
        bounds = sorted({0, len(own), *(cut for cut in cuts if cut < len(own))})
        for begin, end in pairwise(bounds):
            writer.seal(*own[begin:end])
    return ordered


def identity(record: Logged) -> tuple[str, str]:
    return record.name, repr(sorted(record.labels.items()))


def exact(value: Any) -> Any:
    """A value that equals another exactly when both are the same: signs of zero, NaN and truth values count."""
    if isinstance(value, bool | str | bytes | list) or value is None:
        return type(value).__name__, repr(value)
    if value != value:
        return "nan"
    return "-0" if value == 0 and math.copysign(1, value) < 0 else value


def shown(value: Any) -> Any:
    """The same for a data frame, where NaN, ``None`` and missing are one."""
    if isinstance(value, list | bytes):
        return exact(value)
    if pd.isna(value):
        return None
    found = exact(value.item() if hasattr(value, "item") else value)
    is_exact_float = isinstance(found, int | float) and (math.isinf(found) or abs(found) <= 2**53)
    return float(found).hex() if is_exact_float else repr(found)


def described(record: Logged, form: Callable[[Any], Any] = exact) -> tuple[tuple[str, Any], ...]:
    """A context as pairs of column and value."""
    pairs = [
        (frame.loop, frame.shown) if isinstance(frame, It) else (frame.key, frame.value) for frame in record.context
    ]
    return tuple(sorted((name, form(value)) for name, value in pairs))


def model_rows(records: list[Logged]) -> Counter[Any]:
    """Rows by the rule: the n-th value of a metric in a context stands in the n-th row of that context."""
    cells: dict[Any, dict[Any, list[Any]]] = {}
    for record in records:
        cells.setdefault(record.context, {}).setdefault(identity(record), []).append(record.value)
    rows: Counter[Any] = Counter()
    for context, metrics in cells.items():
        for n in range(max(len(found) for found in metrics.values())):
            row = {key: shown(found[n]) for key, found in metrics.items() if n < len(found)}
            kept = tuple(sorted((key, value) for key, value in row.items() if value is not None))
            rows[described(Logged(context, "", None), shown), repr(kept)] += 1
    return rows


def frame_rows(frame: pd.DataFrame, asked: dict[str, tuple[str, str]]) -> Counter[Any]:
    rows: Counter[Any] = Counter()
    contexts = [name for name in COLUMNS if name in frame]
    for _, row in frame.iterrows():
        context = tuple(sorted((name, shown(row[name])) for name in contexts if shown(row[name]) is not None))
        kept = [(asked[name], shown(row[name])) for name in asked if name in frame and shown(row[name]) is not None]
        rows[context, repr(tuple(sorted(kept)))] += 1
    return rows


def column_names() -> dict[str, tuple[str, str]]:
    found = {}
    for name in NAMES:
        for label in ({}, {"layer": 1}, {"layer": "1"}):
            shown_labels = "".join(
                f"{{layer={1 if value == 1 else repr('1').replace(chr(39), chr(34))}}}" for value in label.values()
            )
            found[name + shown_labels] = identity(Logged((), name, None, label))
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records=record_lists, cuts=st.lists(st.integers(1, 23), max_size=4))
def test_data_frames_follow_the_rule(records: list[tuple[int, Logged]], cuts: list[int]) -> None:
    """Whatever the kinds, the boundaries of segments and the number of shards."""
    store = fresh_store()
    ordered = write(store, records, cuts)
    asked = sorted({record.name for record in ordered})

    frame = dataframe(store, *asked) if asked else dataframe(store, "run")

    expected = model_rows(ordered)
    assert sum(expected.values()) == (len(frame) if asked else 0)
    if asked:
        assert frame_rows(frame, column_names()) == expected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records=record_lists, cuts=st.lists(st.integers(1, 23), max_size=4))
def test_every_record_is_read_exactly(records: list[tuple[int, Logged]], cuts: list[int]) -> None:
    """Values of one metric in one context come in the order in which they were logged."""
    store = fresh_store()
    ordered = write(store, records, cuts)

    found: dict[Any, list[Any]] = {}
    for record in Reader(store).read():
        context = tuple(sorted((name, exact(record[name])) for name in COLUMNS if name in record))
        key = record["metric"], repr([("layer", record["layer"])] if "layer" in record else [])
        found.setdefault((context, key), []).append(exact(record["value"]))

    expected: dict[Any, list[Any]] = {}
    for record in ordered:
        expected.setdefault((described(record), identity(record)), []).append(exact(record.value))
    assert found == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    records=record_lists,
    index=st.sampled_from([["epoch"], ["epoch", "step", "fold", "phase"], [], ["run", "metric"]]),
    columns=st.sampled_from([["metric", "layer"], ["phase"], []]),
)
def test_all_outputs_agree(records: list[tuple[int, Logged]], index: list[str], columns: list[str]) -> None:
    """Lists, pivots, pandas, Polars, Arrow and SQL hold the same values in the same places."""
    store = fresh_store()
    ordered = write(store, records, [5, 11])
    reader = Reader(store)
    known = {key for keys in reader.keys.values() for key in keys}
    index, columns = [key for key in index if key in known], [key for key in columns if key in known - set(index)]

    pivot = reader.pivot(index, columns)
    frame, table, polars = (make(index, columns) for make in (reader.pandas, reader.arrow, reader.polars))

    assert len(reader.read()) == len(reader.pandas()) == reader.arrow().num_rows == len(ordered)
    assert list(reader.sql("select count(*) from records")) == [(len(ordered),)]
    assert len(frame) == table.num_rows == len(polars) == len(pivot.index_tuples)
    assert polars.columns == table.column_names
    cells = [[shown(value) for value in row] for row in pivot.values_array.tolist()]
    assert [[shown(value) for value in row] for row in frame.astype(object).values.tolist()] == cells
    assert sum(cell is not None for row in cells for cell in row) == sum(shown(r.value) is not None for r in ordered)
