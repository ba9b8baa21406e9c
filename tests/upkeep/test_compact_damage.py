"""Compaction and readers where the index or a run holds what it should not, or changes at an unlucky moment."""

from __future__ import annotations

import json
import secrets
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tracker
from tests.read.building import It, Logged, log_run, make_run
from tracker.cli.compact import _lines
from tracker.errors import KeyNotFound, StoreUnavailable
from tracker.read.batches import Batch
from tracker.read.catalog import scan
from tracker.read.frame import dataframe
from tracker.read.index import load_index
from tracker.read.indexed import scan_index
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.changes import note_change
from tracker.store.documents import Lease, encode
from tracker.store.memory import MemoryStore
from tracker.store.open import open_store
from tracker.store.processes import this_writer
from tracker.upkeep import compact_cleaning
from tracker.upkeep.compact_summary import CompactSummary
from tracker.upkeep.compaction import compact
from tracker.upkeep.describing import describe_run
from tracker.upkeep.pins import change_tags


def epoch(number: int) -> Logged:
    """One record of a loop."""
    return Logged((It("epoch", number),), "loss", number / 8)


@pytest.fixture
def memory() -> Store:
    """A new store."""
    return open_store(f"memory://{secrets.token_hex(8)}")


def located(store: Store) -> list[str]:
    """The runs that are read from the index."""
    return [view.run for view in scan_index(store) or [] if view.located is not None]


def tags_of(store: Store) -> list[tuple[str, ...]]:
    """The tags of all runs, oldest first."""
    return [view.tags for view in scan(store)]


@pytest.fixture
def tagged(memory: Store) -> tuple[Store, str]:
    """A store whose second batch says that the first of four runs has a tag, and the key of that batch."""
    tagged, *_ = [log_run(memory, epoch(number)) for number in range(4)]
    compact(memory)
    first = {info.key for info in memory.list(keys.INDEX_RUNS)}
    change_tags(memory, [tagged], add=["new"])
    compact(memory)
    (second,) = [info.key for info in memory.list(keys.INDEX_RUNS) if info.key not in first]
    return memory, second


@pytest.mark.filterwarnings("ignore::tracker.read.notices.DamageWarning")
def test_a_damaged_batch_does_not_bring_older_rows_back(tagged: tuple[Store, str]) -> None:
    """Nobody knows what it said, so no row is believed until a compaction has read all runs anew."""
    store, second = tagged
    store.put(second, store.get(second)[:100])

    assert tags_of(store) == [("new",), (), (), ()]
    assert compact(store, grace_s=0).read == 4
    assert len(located(store)) == 4
    assert tags_of(store) == [("new",), (), (), ()]


@pytest.mark.filterwarnings("ignore::tracker.read.notices.DamageWarning")
def test_a_damaged_batch_is_replaced_also_where_the_others_say_all(memory: Store) -> None:
    """Nothing has to be written for the runs then, but that it does not count any more."""
    for number in range(3):
        log_run(memory, epoch(number))
    compact(memory)
    memory.put(keys.index_runs(ids.new_id()), b"no Parquet")

    assert located(memory) == []
    compact(memory)
    assert len(located(memory)) == 3


def test_a_batch_that_cannot_be_fetched_is_not_taken_for_damaged(
    tagged: tuple[Store, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that does not answer says nothing about what it holds."""

    def away(self: MemoryStore, key: str) -> Any:
        raise StoreUnavailable(f"{key} cannot be fetched")

    monkeypatch.setattr(MemoryStore, "open", away)

    with pytest.raises(StoreUnavailable, match="cannot be fetched"):
        scan(tagged[0])


OLD = ids.first_id(1_600_000_000_000)[:-1] + "1"


def test_a_run_under_an_id_that_was_given_days_ago_is_seen_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that waited long in a queue begins its run behind the horizon of the index."""
    store = open_store(tmp_path / "store")
    for number in range(3):
        log_run(store, epoch(number))
    compact(store)
    monkeypatch.setenv("HINDSIGHT_RUN_ID", OLD)

    with tracker.run(store=store.url, capture=()) as run:
        tracker.log("loss", 1.0)

    assert run.id == OLD
    assert len(tracker.runs(store=store.url)) == 4


def test_a_run_that_was_removed_and_begins_again_is_seen_at_once(tmp_path: Path) -> None:
    """A further try of a task whose run has left for another store has the same id, and the index says it is gone."""
    store = open_store(tmp_path / "store")
    for _ in range(2):
        with tracker.run(store=store.url, capture=(), launch_key="task") as run:
            tracker.log("loss", 1.0)
        for number in range(3):
            log_run(store, epoch(number))
        assert run.id in [view.run for view in tracker.runs(store=store.url)]
        compact(store)
        store.delete([info.key for info in store.list(keys.run_folder(run.id))])
        note_change(store, run.id)
        compact(store)
        assert run.id not in [view.run for view in tracker.runs(store=store.url)]


def test_runs_that_are_asked_for_by_id_are_found_without_a_row(memory: Store) -> None:
    """Whoever knows the id has listed the runs; the index is no reason to say that there is none."""
    for number in range(3):
        log_run(memory, epoch(number))
    compact(memory)
    log_run(memory, epoch(0), run=OLD)

    names = memory.folders(keys.RUNS)

    assert [view.run for view in scan_index(memory, names) or []] == sorted(names)


def test_a_gone_row_does_not_hide_a_run_that_is_there_again(memory: Store) -> None:
    """Also where a copy brought it without a note: new runs are listed anyway."""
    first, *_ = [log_run(memory, epoch(number)) for number in range(4)]
    held = {info.key: memory.get(info.key) for info in memory.list(keys.run_folder(first))}
    compact(memory)
    memory.delete(held)
    note_change(memory, first)
    compact(memory)

    for key, data in held.items():
        memory.put(key, data)

    assert first in [view.run for view in scan_index(memory) or []]


def test_cleaning_spares_a_batch_that_was_published_meanwhile(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has looked into it, so nobody knows that it is replaced."""
    run, *_ = [log_run(memory, epoch(number)) for number in range(3)]
    compact(memory)
    index = load_index(memory)
    change_tags(memory, [run], add=["new"])
    compact(memory)
    monkeypatch.setattr(compact_cleaning, "load_index", lambda *args, **kwargs: index)

    compact_cleaning.clean(memory, CompactSummary(memory.url), grace_s=0)

    assert tags_of(memory)[0] == ("new",)
    assert len(list(memory.list(keys.INDEX_RUNS))) == 2


@pytest.mark.filterwarnings("ignore::tracker.read.notices.DamageWarning")
@pytest.mark.parametrize("column", ["documents", "segments", "state"])
@pytest.mark.parametrize("instead", [None, pa.array([1] * 4), pa.array([[1]] * 4)], ids=["nothing", "int", "list"])
def test_a_batch_with_other_columns_is_damaged(memory: Store, column: str, instead: pa.Array | None) -> None:
    """Whoever wrote it: the runs themselves are read, and the next compaction takes its place."""
    for number in range(4):
        log_run(memory, epoch(number))
    compact(memory)
    (key,) = [info.key for info in memory.list(keys.INDEX_RUNS)]
    table, sink = pq.read_table(pa.BufferReader(memory.get(key))), pa.BufferOutputStream()
    place = table.schema.get_field_index(column)
    table = table.remove_column(place) if instead is None else table.set_column(place, column, instead)
    pq.write_table(table, sink)
    memory.put(key, sink.getvalue().to_pybytes())

    assert len(dataframe(memory, "loss")) == 4
    compact(memory)
    assert len(located(memory)) == 4


def test_an_index_that_goes_once_it_is_opened(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its larger columns are read later; the runs are read where these are not there any more."""
    for number in range(3):
        log_run(memory, epoch(number))
    compact(memory)

    def gone(self: Batch, name: str) -> Any:
        raise KeyNotFound(f"there is no {self.name}")

    monkeypatch.setattr(Batch, "_column", gone)

    assert len(dataframe(memory, "loss")) == 3


def in_document(**fields: Any) -> Callable[[Store, str], None]:
    """Changes the end of a run."""

    def change(store: Store, run: str) -> None:
        key = keys.attempt_document(run, run, "end")
        store.put(key, json.dumps(json.loads(store.get(key)) | fields).encode())

    return change


def in_segment(change: Callable[[pa.Table], pa.Table]) -> Callable[[Store, str], None]:
    """Changes the segment of a run."""

    def write(store: Store, run: str) -> None:
        (key,) = [info.key for info in store.list(keys.data_folder(run))]
        sink = pa.BufferOutputStream()
        pq.write_table(change(pq.read_table(pa.BufferReader(store.get(key)))), sink)
        store.put(key, sink.getvalue().to_pybytes())

    return write


def _replayed(table: pa.Table) -> pa.Table:
    about = json.loads(table.schema.metadata[b"hindsight"]) | {"replay": 5}
    return table.replace_schema_metadata({"hindsight": json.dumps(about)})


def _doubled(table: pa.Table) -> pa.Table:
    return table.append_column(table.schema.field("loss"), table.column("loss"))


ODD_RUNS = {
    "too late": in_document(ended=1e18),
    "no number": in_document(summary={"x": {"$float": "abc"}}),
    "replay": in_segment(_replayed),
    "twice": in_segment(_doubled),
}


@pytest.mark.parametrize("way", ODD_RUNS)
@pytest.mark.filterwarnings("ignore::tracker.read.notices.DamageWarning")
def test_one_odd_run_does_not_stop_the_others(memory: Store, way: str) -> None:
    """They are taken in, and the odd one is listed as before."""
    odd, *others = [log_run(memory, epoch(number)) for number in range(3)]
    ODD_RUNS[way](memory, odd)

    summary = compact(memory)

    assert summary.indexed + summary.unreadable == 3
    assert set(others) <= set(located(memory))
    assert [view.run for view in scan(memory)] == [odd, *others]


def test_what_is_damaged_is_told(memory: Store) -> None:
    """Also a segment, whose run is in the index all the same."""
    end, segment, _ = [log_run(memory, epoch(number)) for number in range(3)]
    memory.put(keys.attempt_document(end, end, "end"), b"{ no JSON")
    memory.put(next(info.key for info in memory.list(keys.data_folder(segment))), b"PAR1 and nothing")

    summary = compact(memory)

    assert summary.problems.keys() == {end, segment}
    assert (summary.indexed, summary.open, summary.unreadable, summary.without_end) == (2, 1, 1, 0)


def test_what_keeps_runs_out_of_the_index_is_told_apart(memory: Store) -> None:
    """One that goes on, one without an end, one that is damaged."""
    live, _, damaged = make_run(memory, end=False), make_run(memory, end=False), make_run(memory)
    lease = Lease(writer=this_writer(), renewed=time.time(), interval_s=10)
    memory.put(keys.attempt_document(live, live, "lease"), encode(lease))
    memory.put(keys.attempt_document(damaged, damaged, "end"), b"")

    summary = compact(memory)

    assert (summary.open, summary.without_end, summary.unreadable) == (3, 1, 1)
    text = "\n".join(_lines(summary))
    assert [text.count(why) for why in ("1 run cannot be, because they go on", "no end", "damaged")] == [1, 1, 1]


def test_what_others_are_warned_of_stays_as_it_is(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters of warnings are the whole process's: threads that change them leave them wrong."""
    damaged = make_run(memory)
    memory.put(keys.attempt_document(damaged, damaged, "end"), b"")

    def changed(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the filters of warnings were changed")

    with monkeypatch.context() as patched:
        patched.setattr(warnings, "catch_warnings", changed)
        found = describe_run(memory, damaged)

    assert found is not None
    assert "end.json" in found.problem
