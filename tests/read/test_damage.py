"""Damaged data: named, left out, and without harm to what stands beside it."""

from __future__ import annotations

import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.read.building import It, Logged, Writer, make_run
from tracker.errors import InputError, NewerFormat
from tracker.read.frame import dataframe
from tracker.read.notices import DamageWarning
from tracker.read.reader import Reader
from tracker.store.base import Store


def three_segments(store: Store) -> list[str]:
    """Ten steps in each of three segments; returns their keys."""
    run = make_run(store)
    writer = Writer(store, run, run)
    return [
        writer.seal(*[Logged((It("step", n),), "loss", float(n)) for n in range(begin, begin + 10)])[0]
        for begin in (0, 10, 20)
    ]


@pytest.mark.parametrize("kept", [0, 3, 40, 200])
def test_a_cut_segment_is_left_out(store: Store, kept: int) -> None:
    """Its key is named; the other two are read."""
    key = three_segments(store)[1]
    store.put(key, store.get(key)[:kept])

    with pytest.warns(DamageWarning, match=f"left out {key}"):
        frame = dataframe(store, "loss")

    assert frame["step"].tolist() == [*range(10), *range(20, 30)]


def test_foreign_bytes_are_left_out(store: Store) -> None:
    """In every output."""
    key = three_segments(store)[2]
    store.put(key, b"PAR1 this is no Parquet file PAR1")

    with pytest.warns(DamageWarning, match=key):
        assert len(Reader(store).read()) == 20
    with pytest.warns(DamageWarning, match=key):
        assert list(Reader(store).sql("select count(*) from step")) == [(20,)]


def test_damaged_pages_of_all_that_a_run_has_of_a_loop(store: Store) -> None:
    """The footers promise rows, and none of them can be read."""
    for key in three_segments(store):
        data = store.get(key)
        footer = data[-8 - int.from_bytes(data[-8:-4], "little") :]
        store.put(key, data[:4] + bytes(len(data) - 4 - len(footer)) + footer)

    with pytest.warns(DamageWarning, match="damaged"):
        assert list(Reader(store).sql("select * from records")) == []
    with pytest.warns(DamageWarning, match="damaged"), pytest.raises(InputError, match="name step does not exist"):
        Reader(store).sql("select * from step")


def test_a_damaged_page_is_left_out_or_read_right(store: Store) -> None:
    """Zeroes in the middle of the data never shift or mix the values of other segments."""
    key = three_segments(store)[0]
    data = bytearray(store.get(key))
    data[4:120] = bytes(116)
    store.put(key, bytes(data))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)
        frame = dataframe(store, "loss")

    assert frame["step"].tolist()[-20:] == [*range(10, 30)]


def test_two_columns_of_one_name_are_damage(store: Store) -> None:
    """Which of them holds the values is not guessed."""
    key = three_segments(store)[1]
    table = pq.read_table(pa.BufferReader(store.get(key)))
    sink = pa.BufferOutputStream()
    pq.write_table(table.append_column(table.schema.field("loss"), table["loss"]), sink)
    store.put(key, sink.getvalue().to_pybytes())

    with pytest.warns(DamageWarning, match=f"left out {key}.*two columns have one name"):
        frame = dataframe(store, "loss")

    assert frame["step"].tolist() == [*range(10), *range(20, 30)]


@pytest.mark.parametrize(("stated", "labels"), [({"path": ["epoch", "step"]}, None), ({}, "[1"), ({}, "[1]")])
def test_metadata_that_contradicts_itself_is_damage(
    store: Store, stated: dict[str, object], labels: str | None
) -> None:
    """A path of two loops over one loop column, or labels that are no mapping."""
    three_segments(store)
    run = make_run(store)
    key = Writer(store, run, run).seal(Logged((It("step", 0),), "loss", 0.0), stated=stated)[0]
    if labels is not None:
        store.put(key, _with_labels(store.get(key), labels))

    with pytest.warns(DamageWarning, match=f"left out {key}"):
        assert len(dataframe(store, "loss")) == 30


def _with_labels(data: bytes, labels: str) -> bytes:
    table = pq.read_table(pa.BufferReader(data))
    number = table.column_names.index("loss")
    field = table.schema.field(number)
    table = table.set_column(number, field.with_metadata({**field.metadata, b"labels": labels}), table.column(number))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def test_a_newer_format_asks_for_an_upgrade(store: Store) -> None:
    """It is not damage, so it is not skipped in silence."""
    run = make_run(store)
    Writer(store, run, run).seal(Logged((It("step", 0),), "loss", 0.0), stated={"format": 99})

    with pytest.raises(NewerFormat, match="format 99"):
        dataframe(store, "loss")
