"""Stores that have met before, on a machine that remembers nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.read.building import It, Logged, log_run
from tests.store.dict_driver import DictDriver, remote
from tests.syncing.stores import contents
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import Format, Lease, RunDocument, decode, encode
from tracker.store.open import open_store
from tracker.store.processes import this_writer
from tracker.syncing import units
from tracker.syncing.stores import sync
from tracker.upkeep.compaction import compact

_RUNS = 70


@pytest.fixture
def drivers() -> tuple[DictDriver, DictDriver]:
    """A source and a target that has all of it, and an index."""
    pair = DictDriver(), DictDriver()
    for driver in pair:
        driver.keys[keys.FORMAT] = encode(Format(created=1.0, writer="test", conditional_put=True))
    source, target = stores(pair)
    for number in range(_RUNS):
        log_run(source, Logged((It("epoch", 0),), "loss", number), tags=("a",))
    sync(source, target)
    compact(target)
    for driver in pair:
        driver.got_keys, driver.put_keys = [], []
    return pair


def stores(drivers: tuple[DictDriver, DictDriver]) -> tuple[Store, Store]:
    """The two of them."""
    return remote(drivers[0], "dict://source"), remote(drivers[1], "dict://target")


@pytest.mark.parametrize("etags", [(True, True), (False, True), (False, False)])
def test_what_is_the_same_is_not_written(drivers: tuple[DictDriver, DictDriver], etags: tuple[bool, bool]) -> None:
    """Nor read, where the servers tell; and no run is said to have changed, so the index stays as good as it was."""
    drivers[0].etags, drivers[1].etags = etags
    source, target = stores(drivers)

    summary = sync(source, target, full=True)

    assert (summary.runs, summary.keys, summary.changed) == (_RUNS, 0, [])
    assert not [key for key in drivers[1].put_keys if not key.startswith((keys.HOLDS, ".probe"))]
    read = [key for key in drivers[1].got_keys if key.startswith(keys.RUNS)]
    assert len(read) == (0 if etags[1] else 2 * _RUNS)
    assert bool([key for key in drivers[0].got_keys if key.startswith(keys.RUNS)]) == (not etags[0])


@pytest.mark.parametrize("etags", [True, False])
def test_documents_of_one_size_are_merged(drivers: tuple[DictDriver, DictDriver], etags: bool) -> None:
    """The size does not tell that they are the same."""
    drivers[0].etags = drivers[1].etags = etags
    source, target = stores(drivers)
    key = next(key for key in drivers[1].keys if key.endswith("/run.json"))
    drivers[1].keys[key] = drivers[1].keys[key].replace(b'"a"', b'"b"')
    assert drivers[0].keys[key] != drivers[1].keys[key]

    summary = sync(source, target, full=True)

    assert decode(drivers[1].keys[key], RunDocument, key=key).tags == ("a", "b")
    assert summary.changed == [key.split("/")[1]]
    sync(target, source, full=True)
    assert contents(source) == contents(target)


def test_a_lease_that_was_left_beside_an_end_goes(drivers: tuple[DictDriver, DictDriver]) -> None:
    """As a sync leaves it that was killed before its last request."""
    source, target = stores(drivers)
    end = next(key for key in drivers[1].keys if key.endswith("/end.json"))
    lease = Lease(writer=this_writer(), renewed=1.0, interval_s=1.0)
    drivers[1].keys[end.replace("end.json", "lease.json")] = encode(lease)

    sync(source, target, full=True)

    assert not [key for key in drivers[1].keys if key.endswith("/lease.json")]


@pytest.mark.parametrize("name", ["run.json", "end.json"])
def test_what_is_damaged_in_both_is_told_and_stays(tmp_path: Path, name: str) -> None:
    """Equal bytes are no proof that a run is there."""
    source, target = open_store(tmp_path / "source"), open_store(tmp_path / "target")
    run = log_run(source, Logged((It("epoch", 0),), "loss", 1))
    key = keys.run_document(run) if name == "run.json" else keys.attempt_document(run, run, "end")
    for store in (source, target):
        sync(source, target)
        store.put(key, b"{")

    summary = sync(source, target, delete_after=True, full=True)

    assert not summary.complete
    assert key in summary.problems
    assert summary.deleted_runs == []
    assert contents(source)[key] == b"{"


def test_progress_ends_with_all(drivers: tuple[DictDriver, DictDriver], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else lies among the runs; the number of all is known once there are more than a window."""
    monkeypatch.setattr(units, "WINDOW_UNITS", 10)
    drivers[0].keys |= {f"runs/foreign-{number}/x": b"" for number in range(9)}
    told: list[tuple[int, int]] = []

    sync(*stores(drivers), full=True, on_progress=lambda each: told.append((each.runs, each.runs_total)))

    assert told[-1] == (_RUNS, _RUNS)
    assert (11, _RUNS) in told
    assert all(done <= total for done, total in told)


def test_a_foreign_folder_beside_a_run_hides_nothing(drivers: tuple[DictDriver, DictDriver]) -> None:
    """Its name sorts before that of the run, with what stands behind the names."""
    first = min(key.split("/")[1] for key in drivers[1].keys if key.startswith(keys.RUNS))
    drivers[1].keys[f"runs/{first}-old/x"] = b""

    assert sync(*stores(drivers), full=True).changed == []
