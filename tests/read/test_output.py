"""Captured output and system samples."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from tests.read.building import START, It, Logged, Writer, make_run
from tracker.read.output import output, system
from tracker.store import ids, keys
from tracker.store.base import Store


def write_lines(
    store: Store, run: str, attempt: str, *lines: tuple[float, str, str | None, str, dict[str, object]]
) -> None:
    """One segment of captured lines, as docs/design/0003 says."""
    key = keys.SegmentKey(run, keys.OUTPUT_PATH, attempt, 1, len(lines))
    times, streams, levels, texts, contexts = zip(*lines, strict=True)
    about = {"format": 1, "run": run, "attempt": attempt, "shard": attempt, "path": ["@output"], "first": 1}
    table = pa.table(
        {
            "_time": pa.array([int(time * 1e6) for time in times], pa.timestamp("us", tz="UTC")),
            "stream": pa.array(streams),
            "level": pa.array(levels, pa.string()),
            "text": pa.array(texts),
            "context": pa.array([json.dumps(context) for context in contexts]),
        }
    )
    sink = pa.BufferOutputStream()
    metadata = {"hindsight": json.dumps(about | {"last": len(lines), "replay": None})}
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    store.put(str(key), bytes(sink.getvalue()))


def test_lines_come_in_the_order_of_their_times(store: Store) -> None:
    """Over shards and attempts, each with its stream, level and context."""
    run = make_run(store)
    later = ids.new_id()
    write_lines(store, run, later, (START + 2, "stdout", None, "again", {}))
    write_lines(
        store, run, run, (START + 1, "stdout", None, "epoch 1", {"epoch": 1}), (START + 3, "root", "WARNING", "ünï", {})
    )

    lines = list(output(store, run[-8:]))

    assert [line.text for line in lines] == ["epoch 1", "again", "ünï"]
    assert lines[0].time == datetime.fromtimestamp(START + 1, UTC)
    assert lines[0].context == {"epoch": 1}
    assert [line.attempt for line in lines] == [run, later, run]
    assert [(line.stream, line.level) for line in output(store, run, stream="root")] == [("root", "WARNING")]


def test_output_is_no_metric(store: Store) -> None:
    """It shows in neither frames nor records."""
    from tracker.read.reader import Reader

    run = make_run(store)
    write_lines(store, run, run, (START, "stdout", None, "x", {}))
    Writer(store, run, run).seal(Logged((It("step", 0),), "loss", 1.0))

    assert [record["metric"] for record in Reader(store).read()] == ["loss"]
    assert {name for (name,) in Reader(store).sql("show tables")} == {"records", "runs", "step"}


def test_system_samples_are_a_frame(store: Store) -> None:
    """With the samples of every attempt, though each begins to count anew."""
    run = make_run(store)
    for attempt, value in ((run, 10.0), (ids.new_id(), 20.0)):
        Writer(store, run, attempt).seal(Logged((It("@system", 0),), "cpu.percent", value))

    frame = system(store, run)

    assert list(frame.columns) == ["time", "attempt", "@system", "cpu.percent"]
    assert frame["cpu.percent"].tolist() == [10.0, 20.0]


def test_a_run_without_output_or_samples(store: Store) -> None:
    """Gives nothing, and no error."""
    run = make_run(store)

    assert list(output(store, run)) == []
    assert len(system(store, run)) == 0
