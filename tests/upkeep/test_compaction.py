"""Compaction: nothing that is read changes by it, whatever was recorded and whatever happens in between."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracker
from tests.read.building import It, Key, Logged, Writer, log_run, make_run
from tests.upkeep.answers import answers, without_index
from tracker.read.batches import About, Batch
from tracker.read.frame import dataframe, to_frame
from tracker.read.index import Index, Listing, Row
from tracker.read.indexed import scan_index
from tracker.read.table import metric_table
from tracker.store import ids, keys
from tracker.store.base import Info, Store
from tracker.store.changes import changing, note_change
from tracker.store.documents import EndDocument, Lease, encode
from tracker.store.inspection import Finding, inspect
from tracker.store.memory import MemoryStore
from tracker.store.open import open_store
from tracker.store.processes import this_writer
from tracker.upkeep import compact_covered, compact_merging, packing
from tracker.upkeep.compact_merging import choose
from tracker.upkeep.compaction import compact, horizon_of
from tracker.upkeep.removal import remove_runs


def epoch(number: int, name: str = "loss", value: Any = None, **labels: Any) -> Logged:
    """One record of a loop."""
    return Logged((It("epoch", number),), name, number / 8 if value is None else value, labels)


@pytest.fixture
def memory() -> Store:
    """A new store."""
    return open_store(f"memory://{secrets.token_hex(8)}")


def located(store: Store) -> list[str]:
    """The runs that are read from the index."""
    return [view.run for view in scan_index(store) or [] if view.located is not None]


values = st.one_of(
    st.floats(allow_nan=False, width=64), st.integers(-(2**70), 2**70), st.booleans(), st.text(max_size=4), st.none(),
    st.lists(st.integers(), max_size=2), st.binary(max_size=3),
)  # fmt: skip
names = st.sampled_from(["loss", "acc", "odd name", "_run", "lr"])
contexts = st.sampled_from(
    [(), (It("epoch", 0),), (It("epoch", 1),), (It("epoch", 2, "a"),), (Key("phase", "val"),),
     (It("fold", 0), It("epoch", 1)), (It("epoch", 1), It("epoch", 0)), (It("@system", 0),)]
)  # fmt: skip
labels = st.sampled_from([{}, {"x": 1}, {"x": "1"}])
records = st.builds(Logged, contexts, names, values, labels, st.sampled_from(["metric", "argument"]))


@st.composite
def actions(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """What happens to a store, in order."""
    what = st.sampled_from(["run", "live", "attempt", "shard", "replay", "damage", "remove", "compact", "compact"])
    return [(draw(what), draw(st.lists(records, min_size=1, max_size=6))) for _ in range(draw(st.integers(1, 9)))]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions())
def test_answers_do_not_depend_on_the_index(plan: list[tuple[str, Any]]) -> None:
    """Runs, attempts, shards, replays, damage and removals in any order, compacted in between."""
    store = open_store(f"memory://{secrets.token_hex(8)}")
    log_run(store, epoch(0), epoch(1), arguments={"lr": 0.5})
    for what, logged in plan:
        _act(store, what, logged)

    compact(store, grace_s=0)

    assert answers(store) == answers(without_index(store))


def _act(store: Store, what: str, logged: list[Logged]) -> None:
    existing = [name for name in store.folders(keys.RUNS) if any(store.list(keys.run_folder(name)))]
    if what == "compact":
        compact(store, grace_s=0)
    elif what in {"run", "live"}:
        log_run(store, *logged, end=what == "run", arguments={"lr": 0.1})
    elif existing:
        with changing(store, existing[-1]):
            _change(store, what, existing[-1], logged)
    assert answers(store, tables=False) == answers(without_index(store), tables=False)


def _change(store: Store, what: str, run: str, logged: list[Logged]) -> None:
    if what == "attempt":
        attempt = ids.new_id()
        Writer(store, run, attempt).seal(*logged)
        store.put(keys.attempt_document(run, attempt, "end"), encode(EndDocument(status="failed", ended=2e9)))
    elif what == "shard":
        Writer(store, run, run, ids.new_suffix()).seal(*logged)
    elif what == "replay":
        replay = ids.new_id()
        Writer(store, run, replay, "00000000", replay=replay).seal(*[each for each in logged if each.role == "metric"])
    elif what == "damage":
        key = min(info.key for info in store.list(keys.run_folder(run)) if not info.key.endswith("run.json"))
        store.put(key, store.get(key)[: len(store.get(key)) // 2])
    else:
        store.delete([info.key for info in store.list(keys.run_folder(run))])


def test_ended_runs_are_in_the_index_and_others_are_not(memory: Store) -> None:
    """A run that goes on is read itself, however often the store is compacted."""
    ended, live = log_run(memory, epoch(0)), log_run(memory, epoch(1), end=False)

    summary = compact(memory)

    assert (summary.runs, summary.indexed, summary.open) == (2, 1, 1)
    assert located(memory) == [ended]
    assert [view.run for view in scan_index(memory) or []] == [ended, live]


def test_a_run_that_ends_is_taken_in(memory: Store) -> None:
    """The next time; nothing needs to be noted for that."""
    run = log_run(memory, epoch(0), end=False)
    log_run(memory, epoch(0))
    compact(memory)

    memory.put(keys.attempt_document(run, run, "end"), encode(EndDocument(status="finished", ended=2e9)))

    assert answers(memory) == answers(without_index(memory))
    assert compact(memory).indexed == 1
    assert run in located(memory)


def test_a_second_time_nothing_is_written(memory: Store) -> None:
    """Nothing is read either, but what goes on."""
    for _ in range(3):
        log_run(memory, epoch(0))
    compact(memory)
    before = {info.key: info.modified for info in memory.list()}

    assert compact(memory).read == 0
    assert {info.key: info.modified for info in memory.list()} == before


def test_a_noted_run_is_read_itself(memory: Store) -> None:
    """From the note on, until a compaction that saw the note has read the run."""
    run = log_run(memory, epoch(0))
    log_run(memory, epoch(0))
    log_run(memory, epoch(0))
    compact(memory)

    note_change(memory, run)

    assert run not in located(memory)
    compact(memory)
    assert run in located(memory)
    assert not list(memory.list(keys.INDEX_CHANGED))


def test_recorded_attempts_and_replays_note_themselves(tmp_path: Path) -> None:
    """A second attempt of a run that the index tells shows at once."""
    store = tmp_path / "store"
    for number in range(2):
        for key in "abc":
            with tracker.run(store=store, capture=(), launch_key=key):
                tracker.log("loss", number)
        opened = open_store(store)
        assert answers(opened) == answers(without_index(opened))
        compact(opened)

    assert [len(view.attempts) for view in tracker.runs(store=store)] == [2, 2, 2]
    assert len(located(open_store(store))) == 3


def test_old_runs_that_go_on_are_not_forgotten(memory: Store) -> None:
    """A run that began before the horizon, and goes on, has a row that says so."""
    old = ids.first_id(1_600_000_000_000)[:-1] + "1"
    make_run(memory, run=old, end=False)
    lease = Lease(writer=this_writer(), renewed=2e9, interval_s=10)
    memory.put(keys.attempt_document(old, old, "lease"), encode(lease))
    log_run(memory, epoch(0))
    log_run(memory, epoch(0))
    compact(memory)

    assert [view.status for view in scan_index(memory) or []] == ["running", "finished", "finished"]


def test_a_run_with_an_old_id_that_nobody_noted_is_found_by_the_next_compaction(memory: Store) -> None:
    """A clock that was wrong by more than the margin hides a run until then, and not for longer."""
    for _ in range(3):
        log_run(memory, epoch(0))
    compact(memory)
    old = log_run(memory, epoch(0), run=ids.first_id(1_600_000_000_000)[:-1] + "1")

    compact(memory)

    assert located(memory)[0] == old


def test_many_small_batches_become_one(memory: Store) -> None:
    """Each compaction writes a batch; as many as the factor are merged, and the old ones go after the grace period."""
    for _ in range(9):
        log_run(memory, epoch(0), epoch(1))
        compact(memory, grace_s=3600)
    kept = len(list(memory.list(keys.INDEX_RUNS)))

    compact(memory, grace_s=0)

    assert kept > len(list(memory.list(keys.INDEX_RUNS))) == 2
    assert len(located(memory)) == 9
    assert answers(memory) == answers(without_index(memory))


def test_batches_of_which_nothing_counts_go_however_large(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only rows that are written again are counted where batches are merged."""
    monkeypatch.setattr(compact_merging, "MOST_ROWS", 3)
    for _ in range(3):
        for number in range(2):
            log_run(memory, epoch(number))
        compact(memory)

    compact(memory, full=True, grace_s=0)

    assert len(list(memory.list(keys.INDEX_RUNS))) == 2  # the new one, and the one that says which are replaced
    assert len(located(memory)) == 6


def index_of(store: Store, *batches: tuple[int, int]) -> Index:
    """An index of batches with so many rows, of which so many are replaced by those of a last one."""
    parts = [[(f"{number}-{row}", row < dead) for row in range(rows)] for number, (rows, dead) in enumerate(batches)]
    versions = [[(run, 1) for run, _ in part] for part in parts]
    versions.append([(run, 2) for part in parts for run, is_dead in part if is_dead])
    found, rows = dict[str, Batch](), dict[str, Row]()
    for number, told in enumerate(versions):
        runs, size = [run for run, _ in told], len(told)
        about = About(format=1, generation="")
        batch = Batch(
            store, str(number), about, None, runs, [each for _, each in told], ["settled"] * size, [""] * size
        )
        found[batch.name] = batch
        rows |= {run: Row(batch, row) for row, run in enumerate(runs)}
    return Index(store, Listing(), found, rows, frozenset(), frozenset(), "")


def test_batches_that_do_not_fit_together_are_left_alone(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a replaced row in the smallest, each compaction would write that one anew."""
    monkeypatch.setattr(compact_merging, "MOST_ROWS", 50)

    assert not choose(index_of(memory, *[(30, 0)] * 7, (29, 1)))
    assert len(choose(index_of(memory, *[(30, 0)] * 6, *[(29, 9)] * 2))) == 2


def test_a_worn_batch_has_its_turn_beside_many_large_ones(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """They took all the room there is, each time."""
    monkeypatch.setattr(compact_merging, "MOST_ROWS", 50)
    monkeypatch.setattr(compact_merging, "_WORTH_ROWS", 9)

    chosen = choose(index_of(memory, *[(25, 0)] * 8, (40, 13)))

    assert chosen[0].name == "8"


def test_a_dry_run_writes_nothing(memory: Store) -> None:
    """It counts what there would be to do."""
    log_run(memory, epoch(0))
    before = {info.key for info in memory.list()}

    assert compact(memory, dry_run=True).indexed == 1
    assert {info.key for info in memory.list()} == before


def test_a_dry_run_counts_runs_that_went(memory: Store) -> None:
    """As the compaction that follows does."""
    gone, _ = log_run(memory, epoch(0)), log_run(memory, epoch(0))
    compact(memory)
    remove_runs(memory, [gone])

    assert compact(memory, dry_run=True).gone == compact(memory).gone == 1
    assert compact(memory, dry_run=True).gone == 0


@pytest.mark.parametrize("part", ["footer", "page"])
def test_segments_that_others_cover_are_deleted(memory: Store, part: str) -> None:
    """Only where all of what covers them can be read: else they are all that is left."""
    sound, damaged = log_run(memory, epoch(0)), log_run(memory, epoch(0))
    for run in (sound, damaged):
        Writer(memory, run, run).seal(epoch(0), epoch(1), epoch(2))
    longer = max(info.key for info in memory.list(keys.data_folder(damaged)))
    data = memory.get(longer)
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") :]
    pages = data[4 : -len(footer)]
    memory.put(longer, data[:4] + (pages if part == "footer" else bytes(len(pages)) + footer))

    summary = compact(memory)

    assert summary.covered == 1
    assert summary.problems.keys() == {damaged}
    assert len(list(memory.list(keys.data_folder(sound)))) == 1
    assert len(list(memory.list(keys.data_folder(damaged)))) == 2
    assert answers(memory) == answers(without_index(memory))


@pytest.mark.parametrize("is_packed", [True, False])
def test_what_covers_others_is_read_once(memory: Store, monkeypatch: pytest.MonkeyPatch, is_packed: bool) -> None:
    """Into its pack; only one that is read where it lies is read for this alone."""
    run = log_run(memory, epoch(0))
    Writer(memory, run, run).seal(epoch(0), epoch(1))
    inspected = list[str]()

    def watching(store: Store, info: Info) -> Finding:
        inspected.append(info.key)
        return inspect(store, info)

    monkeypatch.setattr(compact_covered, "inspect", watching)
    if not is_packed:
        monkeypatch.setattr(packing, "SMALL_ROWS", 0)

    assert compact(memory).covered == 1
    assert inspected == ([] if is_packed else [info.key for info in memory.list(keys.data_folder(run))])


@pytest.mark.parametrize("folder", ["index/", "index/runs/", "index/data/", "index/format.json"])
def test_the_index_may_be_deleted_in_parts(memory: Store, folder: str) -> None:
    """What lacks is read from the runs, and made anew by the next compaction."""
    for _ in range(3):
        log_run(memory, epoch(0), epoch(1))
    compact(memory)
    memory.delete([info.key for info in memory.list() if info.key.startswith(folder)])

    assert answers(memory) == answers(without_index(memory))
    compact(memory, full=True, grace_s=0)
    assert len(located(memory)) == 3
    assert answers(memory) == answers(without_index(memory))


def test_one_of_several_batches_may_be_deleted(memory: Store) -> None:
    """The others know that it stood there, so its runs are looked for."""
    for _ in range(3):
        log_run(memory, epoch(0), run=None)
        compact(memory)
    log_run(memory, epoch(0), run=ids.first_id(1_600_000_000_000)[:-1] + "1")
    compact(memory)
    first = min(info.key for info in memory.list(keys.INDEX_RUNS))

    memory.delete([first])

    assert answers(memory) == answers(without_index(memory))


@pytest.mark.parametrize("folder", [keys.INDEX_RUNS, keys.INDEX_DATA])
@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "text"])
def test_damaged_files_of_the_index_are_left_out(memory: Store, folder: str, how: str) -> None:
    """With a warning that names them; the runs themselves are read, and compaction makes them anew."""
    for _ in range(3):
        log_run(memory, epoch(0), epoch(1))
    compact(memory)
    key = next(info.key for info in memory.list(folder))
    data = memory.get(key)
    middle = len(data) // 3
    ways = {"cut": data[: len(data) // 2], "empty": b"", "text": b"no Parquet", "flipped": b""}
    ways["flipped"] = data[:middle] + bytes(255 - byte for byte in data[middle : middle + 40]) + data[middle + 40 :]
    memory.put(key, ways[how])

    found, expected = answers(memory), answers(without_index(memory))

    assert any(key in text for text in found.pop("warnings"))
    expected.pop("warnings")
    assert found == expected
    assert isinstance(memory, MemoryStore)


@pytest.mark.parametrize("what", [keys.INDEX_DATA, keys.INDEX])
def test_an_index_that_goes_while_it_is_read(tmp_path: Path, what: str) -> None:
    """Views that were made from it read the runs themselves then."""
    store = open_store(tmp_path / "store")
    for number in range(3):
        log_run(store, epoch(number))
    expected = dataframe(store, "loss")
    compact(store)
    views = scan_index(store) or []

    store.delete([info.key for info in store.list(what)])

    found = to_frame(metric_table(store, views, ["loss"], all_attempts=False))
    pd.testing.assert_frame_equal(found, expected)
    assert all(view.located is not None and view.located.stale for view in views)


def test_a_clock_that_is_ahead_hides_nothing(memory: Store) -> None:
    """The horizon stays a day behind the newest run, whatever time the machine that compacts believes it is."""
    newest = log_run(memory, epoch(0))
    a_year_ms = 365 * 86_400_000

    assert ids.created_ms(newest) - ids.created_ms(horizon_of(ids.created_ms(newest) + a_year_ms, newest)) == 86_400_000
    assert ids.created_ms(newest) - ids.created_ms(horizon_of(ids.created_ms(newest) - 1000, newest)) == 86_401_000
    assert horizon_of(0, "") == ids.first_id(0)
