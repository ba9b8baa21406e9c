"""Remote stores that are slow, away, or come back: journals wait in the spool and nothing is lost."""

from __future__ import annotations

import threading
import time
import warnings
from pathlib import Path

import pytest

import tracker
from tests.record import reading
from tests.record.wayward import Wayward, begin
from tracker.errors import StoreFull, StoreUnavailable
from tracker.record.context import set_scope
from tracker.record.run import Run
from tracker.store.base import Store, has
from tracker.store.documents import Lease, decode
from tracker.store.keys import SegmentKey, object_key
from tracker.store.objects import get_object, put_object
from tracker.store.shipping import ship_documents, shipping


@pytest.fixture(autouse=True)
def _leave_the_run() -> object:
    """Let later tests log elsewhere."""
    from tracker.record.context import PROCESS

    yield
    set_scope(PROCESS.root)


def log_numbers(count: int) -> None:
    """Log 0, 1, 2 … as ``x``."""
    for number in range(count):
        tracker.log("x", number)


def log_and_commit_away(store: Wayward, run: Run) -> bool:
    """Log and commit while the store is away; the background thread may be the first to notice."""
    store.away = True
    log_numbers(500)
    return run.commit()


def finish_away(store: Wayward, run: Run) -> None:
    """End a run while the store is away."""
    store.away = True
    run.finish()


def journals(folder: Path) -> list[Path]:
    """What waits in the spool."""
    return sorted(folder.glob("spool/*/runs/*/journal/*.journal"))


def test_flushed_segments_and_the_rest_are_one_series(tmp_path: Path) -> None:
    """Commits at any moment, merged now and then, and the end: every value is there once, in its row."""
    store = Wayward()
    run = begin(store, tmp_path, journal_bytes=64 << 10)
    for step in tracker.loop("step", range(200)):
        tracker.log("x", step)
        tracker.log("x", step + 0.5)
        if step % 7 == 0:
            assert run.commit()
            assert reading.values(store, run.id, "x")[-1] == step + 0.5
    run.finish()

    assert reading.values(store, run.id, "x") == [value for step in range(200) for value in (step, step + 0.5)]
    assert journals(tmp_path) == []


def test_merging_keeps_the_number_of_small_segments_low(tmp_path: Path) -> None:
    """Every eighth flush covers the ones before it, and those are removed."""
    store = Wayward()
    run = begin(store, tmp_path, journal_bytes=64 << 10)
    for number in range(64):
        tracker.log("x", number)
        run.commit()

    segments = [SegmentKey.parse(info.key) for info in store.list(f"runs/{run.id}/data/")]
    assert len(segments) <= 8
    run.finish()
    assert len(list(store.list(f"runs/{run.id}/data/"))) == 1
    assert reading.values(store, run.id, "x") == list(range(64))


def test_a_store_that_is_away_for_a_while_loses_nothing(tmp_path: Path) -> None:
    """Logging goes on, the user hears of it once, and everything is there when it is back."""
    store = Wayward()
    run = begin(store, tmp_path)
    with pytest.warns(RuntimeWarning, match="kept on this machine"):
        assert not log_and_commit_away(store, run)
    assert len(journals(tmp_path)) > 3

    store.away = False
    run.finish()
    assert reading.values(store, run.id, "x") == list(range(500))
    assert journals(tmp_path) == []


def test_a_store_that_stays_away_leaves_all_to_recovery(tmp_path: Path) -> None:
    """The end waits in the spool, too; a later recovery ships it all, and doing it again changes nothing."""
    store = Wayward()
    run = begin(store, tmp_path)
    log_numbers(500)
    with pytest.warns(RuntimeWarning, match="kept on this machine"):
        finish_away(store, run)
    assert journals(tmp_path)
    store.away = False

    ship_as_another_process(store, run)

    assert reading.values(store, run.id, "x") == list(range(500))
    assert journals(tmp_path) == []
    assert b'"finished"' in store.get(f"runs/{run.id}/attempts/{run.attempt}/end.json")


def ship_as_another_process(store: Store, run: Run) -> None:
    """Recover the spool of a run whose process, this one, is said to be dead."""
    from tracker.store.recovery import recover

    say_dead(run)
    for _ in range(2):
        assert recover(store, run.spool).problems == {}


def say_dead(run: Run) -> None:
    """Change the journals of a run in this process to those of one that is gone."""
    import msgspec

    from tracker.store import frames

    for info in list(run.spool.list(f"runs/{run.id}/journal/")):
        data = run.spool.get(info.key)
        header, layout = frames.decode_header(data, key=info.key)
        dead = msgspec.structs.replace(header, writer=msgspec.structs.replace(header.writer, started=1.0))
        run.spool.put(info.key, frames.encode_header(dead, layout) + data[frames.HEADER_BYTES :])


@pytest.mark.parametrize("has_end", [False, True])
def test_a_document_that_cannot_be_read_stops_no_other_run(tmp_path: Path, has_end: bool) -> None:
    """It is told where it lies; the runs behind it are shipped, and an attempt whose records came is closed."""
    from tracker.store.recovery import recover

    store = Wayward()
    runs = [begin(store, tmp_path) for _ in range(2)]
    for run in runs:
        set_scope(run.recorder.root)
        log_numbers(500)
        with pytest.warns(RuntimeWarning, match="kept on this machine"):
            finish_away(store, run)
        store.away = False
        say_dead(run)
    first, second = runs
    first.spool.put(f"runs/{first.id}/run.json", b"{")
    if not has_end:  # it was killed
        first.spool.delete([f"runs/{first.id}/attempts/{first.attempt}/end.json"])
        store.delete([f"runs/{first.id}/attempts/{first.attempt}/lease.json"])

    found = recover(store, first.spool)

    (problem,) = found.problems.values()
    assert str(first.spool.local_path(f"runs/{first.id}/run.json")) in problem
    assert "verify" not in problem
    assert b'"finished"' in store.get(f"runs/{second.id}/attempts/{second.attempt}/end.json")
    assert found.attempts == ([] if has_end else [first.attempt])
    first.spool.delete([f"runs/{first.id}/run.json"])
    assert recover(store, first.spool).problems == {}
    assert store.get(f"runs/{first.id}/attempts/{first.attempt}/end.json")
    assert list(first.spool.list("runs/")) == []


def test_a_payload_that_cannot_be_shipped_holds_back_only_what_names_it(tmp_path: Path) -> None:
    """One that the disk has damaged, one that the store refuses: both are told, and shipped once they can be."""
    from tracker.store.recovery import recover

    store = Wayward()
    run = begin(store, tmp_path)
    log_numbers(500)
    with pytest.warns(RuntimeWarning, match="kept on this machine"):
        finish_away(store, run)
    store.away = False
    say_dead(run)
    refused, damaged, good = sorted(put_object(run.spool, text) for text in (b"one", b"two", b"three"))
    store.refused, whole = object_key(refused), run.spool.get(object_key(damaged))
    run.spool.put(object_key(damaged), whole + b" and more")
    named = {digest: f"runs/{run.id}/checkpoints/{run.attempt}/{digest}.json" for digest in (refused, damaged, good)}
    for digest, key in named.items():
        run.spool.put(key, f'"{digest}"'.encode())

    found = recover(store, run.spool)

    assert found.problems.keys() == {object_key(refused), object_key(damaged)}
    assert str(run.spool.local_path(object_key(damaged))) in found.problems[object_key(damaged)]
    assert get_object(store, good)
    assert [info.key for info in store.list(f"runs/{run.id}/checkpoints/")] == [named[good]]
    assert reading.values(store, run.id, "x") == list(range(500))
    assert b'"finished"' in store.get(f"runs/{run.id}/attempts/{run.attempt}/end.json")
    store.refused = "nothing"
    run.spool.put(object_key(damaged), whole)
    assert recover(store, run.spool).problems == {}
    assert get_object(store, damaged) + get_object(store, refused)
    assert [info.key for info in run.spool.list()] == ["store-url"]


class Full(Wayward):
    """A store with no room for payloads."""

    tries = 0

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write a key, if it is a small one."""
        if key.startswith("objects/"):
            self.tries += 1
            raise StoreFull("no room")
        super().put(key, data)


@pytest.mark.parametrize("kind", [Wayward, Full])
def test_a_store_that_refuses_all_payloads_takes_the_records(tmp_path: Path, kind: type[Wayward]) -> None:
    """They are told, and the end is written; where there is no room, one is tried alone."""
    from tracker.store.recovery import recover

    store = kind()
    run = begin(store, tmp_path)
    log_numbers(500)
    with pytest.warns(RuntimeWarning, match="kept on this machine"):
        finish_away(store, run)
    store.away, store.refused = False, "objects/" if kind is Wayward else "nothing"
    say_dead(run)
    waiting = {object_key(put_object(run.spool, str(number).encode())) for number in range(9)}

    assert recover(store, run.spool).problems.keys() == waiting

    assert reading.values(store, run.id, "x") == list(range(500))
    assert b'"finished"' in store.get(f"runs/{run.id}/attempts/{run.attempt}/end.json")
    if isinstance(store, Full):
        assert store.tries == 1


def test_payloads_that_are_refused_keep_no_others_waiting_for_ever(tmp_path: Path) -> None:
    """Each time others are tried first."""
    store = Wayward()
    run = begin(store, tmp_path)
    run.finish()
    waiting = sorted(object_key(put_object(run.spool, str(number).encode())) for number in range(8))
    store.refused = tuple(waiting[:5])

    while not all(has(store, key) for key in waiting[5:]):
        with shipping(store, run.spool, {}):
            pass


def test_payloads_that_cannot_be_shipped_are_not_tried_with_every_flush(tmp_path: Path) -> None:
    """Also where the store does not answer any more."""
    store = Wayward()
    run = begin(store, tmp_path)
    tracker.log("x", 1)
    put_object(run.spool, b"payload")
    run.owe()
    store.refused = "holds/"
    with pytest.raises(StoreUnavailable):
        run._flush()  # a part of what the background thread does

    store.refused = "nothing"
    run._flush()
    assert run.is_away
    run.finish()


def test_of_the_ranks_that_fail_the_first_one_stays(tmp_path: Path) -> None:
    """Also where another one's word waited in the spool."""
    store = Wayward()
    run = begin(store, tmp_path)
    key = f"runs/{run.id}/attempts/{run.attempt}/failure.json"
    store.put(key, b"first")
    run.spool.put(key, b"second")
    assert ship_documents(store, run.spool, run.id, {}) == [key]

    assert store.get(key) == b"first"
    assert not has(run.spool, key)
    run.finish()


def test_a_payload_is_let_go_when_it_is_shipped(tmp_path: Path) -> None:
    """Its file is mapped no longer than needed."""
    kept: list[bytes | memoryview] = []

    class Keeping(Wayward):
        def put(self, key: str, data: bytes | memoryview) -> None:
            if key.startswith("objects/"):
                kept.append(data)
            super().put(key, data)

    store = Keeping()
    run = begin(store, tmp_path)
    put_object(run.spool, b"payload")
    with shipping(store, run.spool, {}):
        pass
    (data,) = kept
    with pytest.raises(ValueError, match="released"):
        bytes(data)
    run.finish()


def test_the_limit_of_waiting_journals_drops_and_counts(tmp_path: Path) -> None:
    """What comes beyond the limit while the store is away is counted; what came before it stays."""
    store = Wayward()
    run = begin(store, tmp_path, journal_limit_bytes=300_000)
    store.away = True
    with warnings.catch_warnings(record=True) as told:  # also, at some moment, that the store is away
        warnings.simplefilter("always")
        log_numbers(2000)
    assert any("wait to be sealed, the limit is 300000" in str(each.message) for each in told)
    dropped = run.recorder.dropped["no room"]
    store.away = False
    run.finish()

    values = reading.values(store, run.id, "x")
    assert 0 < dropped == 2000 - len(values)
    assert values == list(range(len(values)))


class Stuck(Wayward):
    """A store in which segments take as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stuck, self.goes_on = threading.Event(), threading.Event()

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write a key, at some time."""
        if "/data/" in key:
            self.is_stuck.set()
            self.goes_on.wait(60)
        super().put(key, data)


def test_a_flush_that_takes_its_time_lets_no_lease_lapse(tmp_path: Path) -> None:
    """Neither that of its own run nor those of runs with other stores."""
    stuck, other = Stuck(), Wayward()
    quick = {"heartbeat_s": 0.01, "flush_interval_s": 0.01}
    runs = [begin(store, tmp_path, **quick) for store in (other, stuck)]
    tracker.log("x", 1)
    assert stuck.is_stuck.wait(20)

    now, deadline = time.time(), time.monotonic() + 60
    while any(renewed(run) < now for run in runs):
        assert time.monotonic() < deadline

    stuck.goes_on.set()
    for run in runs:
        run.finish()
        assert b'"finished"' in run.store.get(f"runs/{run.id}/attempts/{run.attempt}/end.json")
        assert not has(run.store, f"runs/{run.id}/attempts/{run.attempt}/lease.json")


def renewed(run: Run) -> float:
    """When its last sign of life was."""
    key = f"runs/{run.id}/attempts/{run.attempt}/lease.json"
    return decode(run.store.get(key), Lease, key=key).renewed


def test_the_background_thread_flushes_and_lives_on(tmp_path: Path) -> None:
    """Without any call of the user, segments appear while the run goes on, also after the store was away."""
    store = Wayward()
    run = begin(store, tmp_path, flush_interval_s=0.01)
    store.away = True
    tracker.log("x", 1)
    store.asked.clear()
    assert store.asked.wait(20)
    store.away = False
    while not list(store.list(f"runs/{run.id}/data/")):
        pass

    assert reading.values(store, run.id, "x") == [1]
    run.finish()
