"""``Reader``: records, filters, pivots and tables."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.read.building import It, Key, Logged, Writer, log_run, make_run
from tracker.errors import InputError, NameNotFound
from tracker.read.pruning import prune
from tracker.read.reader import Reader
from tracker.read.source import list_parts
from tracker.store.base import Store
from tracker.store.memory import MemoryStore


@pytest.fixture
def reader(store: Store) -> Reader:
    """Two runs with two phases, a labelled metric, and a value outside all loops."""
    for net, base in (("small", 0.0), ("large", 100.0)):
        records = [Logged((), "final", base)]
        for step in range(3):
            for phase in ("train", "test"):
                context = (It("epoch", 0), It("step", step), Key("phase", phase))
                records.append(Logged(context, "loss", base + step + (0.5 if phase == "test" else 0.0)))
            records += [
                Logged((It("epoch", 0), It("step", step)), "norm", base + layer, {"layer": layer}) for layer in (0, 1)
            ]
        log_run(store, *records, arguments={"net": net})
    return Reader(store)


def test_keys_are_known_by_scope(reader: Reader) -> None:
    """Those of runs, of contexts, and of metrics."""
    keys = reader.keys

    assert {"net", "run", "project", "status"} <= set(keys["run"])
    assert keys["context"] == ["epoch", "phase", "step"]
    assert keys["metric"] == ["metric", "layer"]


def test_a_record_has_all_its_keys(reader: Reader) -> None:
    """And none that do not apply to it."""
    record = reader.read(metric="norm", layer=1, step=2, net="large")[0]

    assert {name: record[name] for name in ("value", "metric", "layer", "epoch", "step", "net", "project")} == {
        "value": 101.0, "metric": "norm", "layer": 1, "epoch": 0, "step": 2, "net": "large", "project": "demo",
    }  # fmt: skip
    assert "phase" not in record
    assert "step" not in reader.read(metric="final")[0]


def test_filters_take_values_collections_and_functions(reader: Reader) -> None:
    """On keys of the run, the context and the labels alike."""
    assert len(reader.read()) == 2 * (1 + 6 + 6)
    assert len(reader.read(phase="test")) == 6
    assert len(reader.read(step=[0, 2], phase=("test", "train"))) == 8
    assert len(reader.read(step=range(1, 3), metric="loss")) == 8
    assert len(reader.read(step=lambda step: step < 1)) == 8
    assert len(reader.read(net=lambda net: net.startswith("sm"))) == 13
    assert len(reader.read(layer={0, 5})) == 6
    assert len(reader.read(value=lambda value: value > 101, metric="loss")) == 3
    assert len(reader.read({"step": 0}, phase="train")) == 2


def test_none_wants_records_without_the_key(reader: Reader) -> None:
    """Such as what was logged outside a phase."""
    assert {record["metric"] for record in reader.read(phase=None)} == {"norm", "final"}


def test_a_flag_is_not_a_number(store: Store) -> None:
    """``step=True`` does not mean step 1."""
    log_run(store, *[Logged((It("step", n),), "x", 1.0) for n in range(2)], Logged((It("flag", 1, True),), "x", 2.0))

    assert Reader(store).read(step=True) == []
    assert [record["value"] for record in Reader(store).read(flag=True)] == [2.0]


def test_an_unknown_filter_is_a_slip(reader: Reader) -> None:
    """``NameNotFound`` names near keys; a key given twice is refused."""
    with pytest.raises(NameNotFound, match="no record has the key 'fase'; did you mean 'phase'"):
        reader.read(fase="test")
    with pytest.raises(InputError, match="'step' is filtered twice"):
        reader.read({"step": 1}, step=2)


def test_the_nearest_key_wins(store: Store) -> None:
    """The loop's ``epoch`` hides the argument ``epoch`` in its records, and only there."""
    log_run(store, Logged((It("epoch", 3),), "loss", 1.0), Logged((), "final", 2.0), arguments={"epoch": 10})
    reader = Reader(store)

    assert [record["metric"] for record in reader.read(epoch=3)] == ["loss"]
    assert [record["metric"] for record in reader.read(epoch=10)] == ["final"]
    assert sorted(reader.pandas()["epoch"].tolist()) == [3, 10]


def test_labels_called_value_or_metric_are_marked(store: Store) -> None:
    """They hide neither the value nor the metric's name."""
    log_run(store, Logged((It("step", 0),), "loss", 1.5, {"value": 7, "metric": "l2"}))

    record = Reader(store).read()[0]

    assert (record["value"], record["metric"]) == (1.5, "loss")
    assert (record["value.logged"], record["metric.logged"]) == (7, "l2")


def test_a_pivot_has_a_row_an_index_and_a_column_a_metric(reader: Reader) -> None:
    """With NaN where nothing was logged."""
    found = reader.pivot(["step"], ["metric", "layer"], net="small", phase=None, metric=["norm", "final"])

    assert found.index_tuples == [(None,), (0,), (1,), (2,)]
    assert found.column_tuples == [("final", None), ("norm", 0), ("norm", 1)]
    expected = [[0.0, math.nan, math.nan]] + [[math.nan, 0.0, 1.0]] * 3
    np.testing.assert_array_equal(found.values_array, expected)
    assert found.values_array.dtype == np.float64


def test_repeated_values_of_a_cell_are_further_rows(reader: Reader) -> None:
    """An index that does not tell records apart repeats, in every output."""
    found = reader.pivot(["epoch"], ["phase"], net="small", metric="loss")

    assert found.index_tuples == [(0,), (0,), (0,)]
    assert found.values_array.tolist() == [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]]
    frame = reader.pandas(["epoch"], ["phase"], net="small", metric="loss")
    assert frame.index.tolist() == [0, 0, 0]
    assert frame[["train", "test"]].values.tolist() == found.values_array.tolist()


def test_texts_make_an_object_pivot(store: Store) -> None:
    """Texts, truth values and large integers stay what they are."""
    values = {"s": "a", "b": True, "big": 2**70, "i": 2**60, "j": [1, {"a": None}]}
    log_run(store, *[Logged((It("step", 0),), name, value) for name, value in values.items()])

    found = Reader(store).pivot(["step"], ["metric"])

    assert dict(zip([name for (name,) in found.column_tuples], found.values_array[0], strict=True)) == values


def test_column_keys_become_nested_columns_or_texts(reader: Reader) -> None:
    """``column_formatter`` decides; Arrow and Polars always have texts."""
    pivot = {"index": ["net", "step"], "columns": ["metric", "layer"]}
    nested = reader.pandas(**pivot, metric="norm")
    texts = reader.pandas(**pivot, metric="norm", column_formatter=lambda keys: "/".join(map(str, keys)))

    assert nested.columns.tolist() == [("norm", 0), ("norm", 1)]
    assert nested.index.names == ["net", "step"]
    assert texts.columns.tolist() == ["norm/0", "norm/1"]
    assert reader.arrow(**pivot, metric="norm").column_names == ["net", "step", "norm_0", "norm_1"]
    assert reader.polars(**pivot, metric="norm").columns == ["net", "step", "norm_0", "norm_1"]


def test_pivot_keys_are_checked(reader: Reader) -> None:
    """A text instead of a list, a key in both places, and a key that nothing has."""
    with pytest.raises(InputError, match=r"expected a list of keys, such as \['step'\]"):
        reader.pivot("step", ["metric"])
    with pytest.raises(InputError, match="'step' is both"):
        reader.pivot(["step"], ["metric", "step"])
    with pytest.raises(NameNotFound, match="'stepp'; did you mean 'step'"):
        reader.pivot(["stepp"], ["metric"])


def test_long_tables_agree_with_the_records(reader: Reader) -> None:
    """pandas, Polars and Arrow hold what ``read`` gives, in the same order."""
    records = reader.read()
    frame, table, polars = reader.pandas(), reader.arrow(), reader.polars()

    for name in ("value", "metric", "layer", "epoch", "step", "phase", "net", "run"):
        expected = [record.get(name) for record in records]
        assert [None if pd.isna(value) else value for value in frame[name]] == expected
        assert table[name].to_pylist() == expected
        assert polars[name].to_list() == expected


def test_results_speak_arrow(reader: Reader) -> None:
    """Tables and query results go anywhere through the C stream interface."""
    assert pa.table(reader.sql("select 1 as one")).to_pylist() == [{"one": 1}]
    assert pa.table(reader.arrow()).num_rows == len(reader.read())


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (15_000, [15_000]),
        ([1, 15_000, 10**6, "x", True], [1, 15_000]),
        (range(9_998, 10_002), [9_998, 9_999, 10_000, 10_001]),
        (range(0), []),
        (-1, []),
        ("x", []),
        (2.0, [2]),
        (lambda step: step == 19_999, [19_999]),
    ],
)
def test_segments_that_cannot_match_are_not_read(store: Store, wanted: object, found: list[int]) -> None:
    """Their statistics say so; what is read is the same."""
    run = make_run(store)
    writer = Writer(store, run, run)
    for begin in (0, 10_000):
        writer.seal(*[Logged((It("step", n),), "loss", n) for n in range(begin, begin + 10_000)])
    parts = list_parts(store, run)

    assert [record["value"] for record in Reader(store).read(step=wanted)] == found
    kept = prune(parts, {"step": wanted})
    expected = len(parts) if callable(wanted) else len({value // 10_000 for value in found})
    assert len(kept) == expected


def test_where_and_runs_narrow_a_reader(store: Store) -> None:
    """All its outputs speak of the chosen runs only."""
    first = log_run(store, Logged((It("step", 0),), "loss", 1.0), arguments={"lr": 1})
    log_run(store, Logged((It("step", 0),), "loss", 2.0), arguments={"lr": 2})

    assert [record["value"] for record in Reader(store, where="lr == 2").read()] == [2.0]
    assert [record["value"] for record in Reader(store, runs=first).read()] == [1.0]
    assert Reader(store, runs=first).sql("select count(*) n from runs").dicts() == [{"n": 1}]


def test_nothing_to_read() -> None:
    """An empty store gives empty outputs of every form."""
    reader = Reader(MemoryStore("reader-empty"))

    assert reader.read(metric="loss") == []
    assert reader.pivot(["step"], ["metric"]).index_tuples == []
    assert reader.pandas(["step"], ["metric"]).shape == (0, 0)
    assert reader.pandas(["step"], ["metric", "layer"]).shape == (0, 0)
    assert len(reader.pandas()) == reader.arrow().num_rows == len(reader.polars()) == 0
    assert reader.sql("select * from records").dicts() == []


def test_a_run_without_records(store: Store) -> None:
    """It is a run like any other, with nothing in it."""
    make_run(store)
    reader = Reader(store)

    assert reader.read() == []
    assert reader.keys["context"] == []
    assert len(reader.sql("from runs")) == 1


def test_system_samples_are_records_on_request(store: Store) -> None:
    """They would drown what the run logged."""
    run = make_run(store)
    Writer(store, run, run).seal(Logged((It("@system", 0),), "cpu", 5.0), Logged((It("step", 0),), "loss", 1.0))
    reader = Reader(store)

    assert [record["metric"] for record in reader.read()] == ["loss"]
    assert [record["metric"] for record in reader.read({"@system": lambda n: n >= 0})] == ["cpu"]
