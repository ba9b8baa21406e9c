"""Segments: what covers what, tables of very many columns, loop timings, and kinds in one column."""

from __future__ import annotations

import time
from pathlib import Path

import duckdb

import tracker
from tests.record import reading
from tracker.read.catalog import scan
from tracker.store import ids
from tracker.store.keys import SegmentKey
from tracker.store.open import open_store
from tracker.store.segments import MAX_METRIC_COLUMNS, pieces, uncovered


def test_covered_segments_are_dropped() -> None:
    """Of every chain of ranges the widest stays; other paths and shards count for themselves."""
    run, one, two = ids.new_id(), ids.new_id(), ids.new_id()
    ranges = [
        (one, "a", 0, 9),
        (one, "a", 0, 99),
        (one, "a", 10, 99),
        (one, "b", 0, 9),
        (two, "a", 0, 9),
        (one, "a", 100, 101),
    ]
    sources = {SegmentKey(run, path, shard, first, last): ["key"] for shard, path, first, last in ranges}

    kept = {(key.shard, key.path, key.first, key.last) for key in uncovered(sources)}

    assert kept == {(one, "a", 0, 99), (one, "b", 0, 9), (two, "a", 0, 9), (one, "a", 100, 101)}


def test_thousands_of_metrics_are_split_by_columns(tmp_path: Path) -> None:
    """Each part repeats the context; the whole reads as one table, and DuckDB joins the parts."""
    count = 2 * MAX_METRIC_COLUMNS + 10
    with tracker.run(store=tmp_path / "store", capture=()) as run:
        for epoch in tracker.loop("epoch", range(2)):
            tracker.log_many({f"m{number}": epoch * 10_000 + number for number in range(count)})

    store = open_store(tmp_path / "store")
    (piece,) = pieces(store, run.id)
    assert len(piece.sources) == 3
    assert piece.read(["m1009", "epoch", "m3"]).to_pylist()[1] == {"m1009": 11_009, "epoch": 1, "m3": 10_003}
    assert len(reading.cells(store, run.id)) == 2 * count
    found = duckdb.sql(f"SELECT epoch, m1009 FROM '{tmp_path}/store/runs/*/data/epoch/*.2.parquet' ORDER BY epoch")
    assert found.fetchall() == [(0, 1009), (1, 11_009)]


def test_loops_are_timed(tmp_path: Path) -> None:
    """Iterations count over all their executions and journals; the sum is no more than the time that passed."""
    begin = time.perf_counter()
    with tracker.run(store=tmp_path / "store", capture=(), journal_bytes=4096) as run:
        for _ in tracker.loop("epoch", range(3)):
            for _ in tracker.loop("step", range(200)):
                pass
            time.sleep(0.02)
    passed = time.perf_counter() - begin

    end = scan(open_store(tmp_path / "store"), [run.id])[0].attempts[0].end
    assert end is not None
    assert {path: timing.iterations for path, timing in end.timings.items()} == {"epoch": 3, "epoch.step": 600}
    assert end.timings["epoch"].mean_s >= 0.02
    assert 0 < end.timings["epoch.step"].total_s <= end.timings["epoch"].total_s <= passed


def test_the_index_of_a_loop_is_a_column_only_where_it_differs(tmp_path: Path) -> None:
    """``range(n)`` needs one column, ``range(1, n)`` two."""
    with tracker.run(store=tmp_path / "store", capture=()) as run:
        for name, items in (("plain", range(3)), ("shifted", range(1, 4))):
            for _ in tracker.loop(name, items):
                tracker.log("x", 1)

    columns = {piece.key.path: piece.schema().names for piece in pieces(open_store(tmp_path / "store"), run.id)}
    assert columns == {"plain": ["_time", "plain", "x"], "shifted": ["_time", "shifted", "shifted.index", "x"]}


def test_metrics_named_like_other_columns_step_aside(tmp_path: Path) -> None:
    """A metric that has the name of its loop, of a step key or of the time keeps its values beside them."""
    with tracker.run(store=tmp_path / "store", capture=()) as run:
        for epoch in tracker.loop("epoch", range(2)):
            with tracker.step(phase="train"):
                tracker.log_many({"epoch": epoch + 0.5, "phase": 7, "_time": 8, "epoch.logged": 9})

    for name, values in {"epoch": [0.5, 1.5], "phase": [7, 7], "_time": [8, 8], "epoch.logged": [9, 9]}.items():
        assert reading.values(open_store(tmp_path / "store"), run.id, name) == values
