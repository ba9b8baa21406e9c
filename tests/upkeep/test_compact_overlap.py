"""Compactions that overlap, end at any of their changes, or come after one with another horizon."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.read.building import It, Logged, log_run, make_run
from tests.syncing.stores import copy_of
from tests.upkeep.answers import answers, without_index
from tests.upkeep.dying import Dying
from tracker.read.catalog import scan
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.changes import changing, note_change
from tracker.store.documents import EndDocument, Lease, encode
from tracker.store.local import LocalStore
from tracker.store.open import open_store
from tracker.store.processes import this_writer
from tracker.upkeep.batching import BatchWriter
from tracker.upkeep.compaction import compact
from tracker.upkeep.pins import change_tags
from tracker.upkeep.removal import remove_runs

DAY_MS = 86_400_000


def epoch(number: int) -> Logged:
    """One record of a loop."""
    return Logged((It("epoch", number),), "loss", number / 8)


@pytest.fixture
def memory() -> Store:
    """A new store."""
    return open_store(f"memory://{secrets.token_hex(8)}")


def retry(store: Store, run: str) -> None:
    """A further attempt begins."""
    with changing(store, run):
        lease = Lease(writer=this_writer(), renewed=time.time(), interval_s=10)
        store.put(keys.attempt_document(run, ids.new_id(), "lease"), encode(lease))


def end(store: Store, run: str) -> None:
    """The last attempt ends, without a note: what goes on is read itself."""
    attempt = max(store.folders(keys.attempts_folder(run)))
    store.put(keys.attempt_document(run, attempt, "end"), encode(EndDocument(status="failed", ended=2e9)))


def remove(store: Store, run: str) -> None:
    """All of it."""
    assert list(remove_runs(store, [run]).runs) == [run]


def tag(store: Store, run: str) -> None:
    """A mark."""
    change_tags(store, [run], add=["new"])


def again(store: Store, run: str) -> None:
    """It comes back, as a further try of a task does whose run has left for another store."""
    with changing(store, run):
        log_run(store, epoch(5), run=run)


OVERLAPS: dict[str, tuple[list[Callable[[Store, str], None]], ...]] = {  # before, between, after
    "retried": ([], [retry], [end]),
    "removed": ([], [remove], []),
    "tagged": ([], [tag], []),
    "removed again": ([remove, again], [remove], []),
    "removed and back": ([], [remove, again], []),
}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("name", OVERLAPS)
def test_a_change_between_two_compactions_that_overlap(
    memory: Store, name: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has read the run before the change, another after it and is done first: the older row is not believed."""
    before, between, after = OVERLAPS[name]
    for number in range(3):
        log_run(memory, epoch(number))
    run = log_run(memory, epoch(0), epoch(1)) if known else ""
    compact(memory)
    run = run or log_run(memory, epoch(0), epoch(1))
    for change in before:
        change(memory, run)
        compact(memory)
    note_change(memory, run)
    real = BatchWriter.publish

    def publish(self: BatchWriter, about: object) -> None:
        monkeypatch.setattr(BatchWriter, "publish", real)
        for change in between:
            change(memory, run)
            compact(memory)
        real(self, about)  # type: ignore[arg-type]

    monkeypatch.setattr(BatchWriter, "publish", publish)
    compact(memory)

    assert BatchWriter.publish is real
    for change in after:
        change(memory, run)
    assert answers(memory, tables=False) == answers(without_index(memory), tables=False)
    compact(memory)
    assert answers(memory, tables=False) == answers(without_index(memory), tables=False)


def test_a_horizon_that_goes_back_hides_no_run(memory: Store) -> None:
    """The newest runs were removed, and one comes from elsewhere that began before them and goes on."""
    now = int(time.time() * 1000)
    for number in range(4):
        log_run(memory, epoch(number), run=f"{ids.first_id(now - 10 * DAY_MS + number)[:-1]}1")
    newest = [log_run(memory, epoch(number), run=f"{ids.first_id(now - number)[:-1]}1") for number in range(2)]
    compact(memory)
    remove_runs(memory, newest)
    run = make_run(memory, run=f"{ids.first_id(now - 3 * DAY_MS)[:-1]}5", end=False)

    compact(memory)

    assert run in [view.run for view in scan(memory)]


@pytest.mark.slow
def test_killed_at_every_change(tmp_path: Path) -> None:
    """Nothing that is read differs afterwards, and the next compaction does the rest."""
    _fill(open_store(tmp_path / "whole"))
    expected = answers(without_index(LocalStore(tmp_path / "whole")), tables=False)
    number, done = 0, False
    while not done:
        store = Dying(copy_of(tmp_path / "whole", tmp_path / str(number)))
        store.left = number
        try:
            compact(store, full=True, grace_s=0)
            done = True
        except KeyboardInterrupt:
            store.left = 10**6
        assert answers(store, tables=False) == expected
        compact(store, grace_s=0)
        assert answers(store, tables=False) == expected
        assert not list(store.list(keys.INDEX_CHANGED))
        number += 1
    assert number > 10


def _fill(store: Store) -> None:
    """Batches that are due to be merged, rows that others replace, a change that was noted, and a run that went."""
    first, second, *_ = [log_run(store, epoch(number)) for number in range(3)]
    for _ in range(7):
        log_run(store, epoch(0))
        compact(store)
    change_tags(store, [first], add=["new"])
    remove(store, second)
