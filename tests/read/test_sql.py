"""SQL over stores, and the least that is read for a query."""

from __future__ import annotations

import sys

import pytest

from tests.read.building import It, Key, Logged, Writer, log_run, make_run
from tracker.errors import InputError, MissingExtra
from tracker.read.mentions import mentions
from tracker.read.reader import Reader
from tracker.store.base import Store


@pytest.fixture
def reader(store: Store) -> Reader:
    """Two epochs of two steps, an accuracy an epoch, an argument and a result."""
    records = [Logged((), "lr", 0.1, role="argument"), Logged((), "final", 9)]
    for epoch in range(2):
        records += [Logged((It("epoch", epoch), It("step", s)), "loss", epoch + s / 2) for s in range(2)]
        records.append(Logged((It("epoch", epoch), It("step", 1)), "norm", float(epoch), {"layer": 0}))
        records.append(Logged((It("epoch", epoch),), "accuracy", epoch / 2))
    log_run(store, *records, arguments={"lr": 0.1}, summary={"final": 9})
    return Reader(store)


def test_every_loop_path_is_a_view(reader: Reader) -> None:
    """Named by its loops, with a column for each loop and metric."""
    found = reader.sql('select epoch, avg(loss) as loss from "epoch.step" group by epoch order by epoch')

    assert found.columns == ["epoch", "loss"]
    assert list(found) == [(0, 0.25), (1, 1.25)]
    assert reader.sql('select * exclude (run, time) from "epoch" order by epoch').dicts() == [
        {"epoch": 0, "accuracy": 0.0},
        {"epoch": 1, "accuracy": 0.5},
    ]


def test_the_run_level_is_the_view_run(reader: Reader) -> None:
    """Arguments and values outside all loops."""
    assert reader.sql("select lr, final from run").dicts() == [{"lr": 0.1, "final": 9}]


def test_runs_and_records_are_tables(reader: Reader) -> None:
    """``runs`` has one row a run, ``records`` one a value."""
    run = reader.runs()[0].run

    assert reader.sql("select run, status, attempts, lr, final, duration from runs").dicts() == [
        {"run": run, "status": "finished", "attempts": 1, "lr": 0.1, "final": 9, "duration": 60.0}
    ]
    found = reader.sql("select path, metric, count(*) n, sum(value) s from records group by all order by 1, 2")
    assert list(found) == [
        ("epoch", "accuracy", 2, 0.5),
        ("epoch.step", "loss", 4, 3.0),
        ("epoch.step", "norm", 2, 1.0),
        ("run", "final", 1, 9.0),
    ]


def test_tables_can_be_joined(reader: Reader) -> None:
    """By ``run`` and by loops."""
    joined = '"epoch.step" s join epoch e using (run, epoch) join runs using (run)'
    query = f"select s.loss, e.accuracy from {joined} where lr < 1"

    assert sorted(reader.sql(query)) == [(0.0, 0.0), (0.5, 0.0), (1.0, 0.5), (1.5, 0.5)]


def test_the_number_of_rows_does_not_depend_on_the_columns(store: Store) -> None:
    """Rows without the named metric count; contexts that repeat are counted by the rule over all metrics."""
    run = make_run(store)
    writer = Writer(store, run, run)
    writer.seal(*[Logged((It("step", n),), "loss", float(n)) for n in range(3)])
    writer.seal(*[Logged((It("step", n),), "norm", float(n)) for n in (2, 3, 3)])
    reader = Reader(store)

    assert list(reader.sql("select count(*), count(loss) from step")) == [(5, 3)]
    assert list(reader.sql("select count(*), count(loss), count(norm) from step")) == [(5, 3, 3)]
    assert len(reader.sql("from step")) == 5


@pytest.mark.parametrize("name", ["it's", 'a"b', "a b", "select", "ünï", "a{b=c}", "x;y", "%s", "run", "time"])
def test_odd_names_work(store: Store, name: str) -> None:
    """As metrics, loops and step keys; a metric that is called like a column of ours is marked."""
    log_run(store, Logged((It(f"loop {name}", 3), Key(f"key {name}", "k")), name, 1.5))
    column = f"{name}.logged" if name in {"run", "time"} else name
    loop, key, column = (text.replace('"', '""') for text in (f"loop {name}", f"key {name}", column))

    found = Reader(store).sql(f'select "{loop}" as l, "{key}" as k, "{column}" as v from "{loop}"')

    assert found.dicts() == [{"l": 3, "k": "k", "v": 1.5}]
    assert Reader(store).sql("select metric, value from records").dicts() == [{"metric": name, "value": 1.5}]


def test_loops_called_like_our_tables_are_marked(store: Store) -> None:
    """A loop ``runs`` does not hide the table."""
    log_run(store, Logged((It("runs", 0),), "x", 1.0), Logged((It("run", 0),), "x", 2.0), Logged((), "x", 3.0))
    reader = Reader(store)

    assert [reader.sql(f'select x from "{name}"').dicts()[0]["x"] for name in ("runs.logged", "run.logged", "run")] == [
        1.0, 2.0, 3.0,
    ]  # fmt: skip
    assert len(reader.sql("from runs")) == 1


def test_values_that_are_no_doubles_are_texts(store: Store) -> None:
    """In ``records``, every value is there exactly."""
    values = {"s": "a'b", "i": 2**53 + 1, "big": 2**70, "y": b"\x00", "j": [1, None], "b": True, "n": None}
    log_run(store, *[Logged((It("step", 0),), name, value) for name, value in values.items()])

    found = {row["metric"]: row for row in Reader(store).sql("from records").dicts()}

    texts = {name: row["text"] for name, row in found.items()}
    assert {name: text for name, text in texts.items() if text is not None} == {
        "s": "a'b", "i": str(2**53 + 1), "big": str(2**70), "y": '{"$bytes":"AA=="}', "j": "[1, null]",
    }  # fmt: skip
    assert found["b"]["value"] == 1.0
    assert found["n"]["value"] is None


def test_results_have_every_form(reader: Reader) -> None:
    """A pandas frame with nullable integers, a Polars frame, an Arrow table, and a table to look at."""
    found = reader.sql("select final, run, started, lr from run join runs using (run, final, lr)")

    assert str(found.pandas()["final"].dtype) == "Int64"
    assert found.polars()["final"].to_list() == [9]
    assert found.arrow().num_rows == len(found) == 1
    assert "final" in repr(found)


def test_a_broken_query_names_the_tables(reader: Reader) -> None:
    """``InputError`` says what DuckDB says, and what there is."""
    with pytest.raises(InputError, match=r'(?s)nowhere.*Tables: "epoch", "epoch.step", "records", "run", "runs"'):
        reader.sql("select * from nowhere")
    with pytest.raises(InputError, match="not a query"):
        reader.sql("  ")


def test_show_tables_shows_them_all(reader: Reader) -> None:
    """Though no query named them."""
    assert {name for (name,) in reader.sql("show tables")} == {"epoch", "epoch.step", "records", "run", "runs"}
    assert "loss" in {row["column_name"] for row in reader.sql('describe "epoch.step"').dicts()}


@pytest.mark.parametrize(
    ("query", "tables", "columns"),
    [
        ('select Loss from "epoch.step" where step > 3 order by norm', {"epoch.step"}, {"loss", "step", "norm"}),
        ("select count(*) from runs", {"runs"}, set()),
        ("select r.a, x.b from runs r join t x using (c)", {"runs", "t"}, {"r", "a", "x", "b", "c"}),
        ("with q as (select a from runs) select max(a) from q", {"runs", "q"}, {"a"}),
        ("select * from runs", {"runs"}, None),
        ("from runs", {"runs"}, None),
        ("select r from runs r", {"runs"}, None),
        ("select runs from runs", {"runs"}, None),
        ("select a from runs natural join t", {"runs", "t"}, None),
        ("select columns('a.*') from runs", {"runs"}, None),
        ("unpivot runs on a", {"runs"}, None),
        ("pivot runs on a using sum(b)", None, None),
        ("show tables", None, None),
        ("summarize runs", None, None),
    ],
)
def test_only_what_a_query_names_is_read(query: str, tables: set[str] | None, columns: set[str] | None) -> None:
    """Where it cannot be told, everything is."""
    duckdb = pytest.importorskip("duckdb")

    with duckdb.connect() as connection:
        found = mentions(connection, query)

    assert (found.tables, found.columns) == (tables, columns)


def test_a_missing_package_names_the_extra(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """``MissingExtra`` says what to install."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    monkeypatch.setitem(sys.modules, "polars", None)

    with pytest.raises(MissingExtra, match=r"pip install 'hindsight-tracker\[sql\]'"):
        reader.sql("select 1")
    with pytest.raises(MissingExtra, match=r"hindsight-tracker\[polars\]"):
        reader.polars()
