"""A damaged store gets back from another one what that can prove to have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import tracker
from tests.syncing.stores import contents, copy_of, project_store, report_of, small_run, sound
from tracker.code.verification import check_snapshot
from tracker.store import keys
from tracker.store.base import Info, Store
from tracker.store.documents import Lease, RankFailure, Removal, encode
from tracker.store.local import LocalStore
from tracker.store.open import open_store
from tracker.store.processes import this_writer
from tracker.syncing.stores import sync
from tracker.upkeep.lost_keys import lost_keys
from tracker.upkeep.removal import finish_removals
from tracker.upkeep.repair import NOT_THERE, Repaired, repair


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two versions of a project, checkpoints and a replay."""
    return project_store(tmp_path_factory.mktemp("project"))


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Store:
    """A copy of it, to be damaged."""
    return open_store(copy_of(whole, tmp_path / "store"))


def repaired(store: Store, source: Store) -> Repaired:
    return repair(store, source, check_code=lambda opened, name: check_snapshot(opened, name, objects=False))


def flip(store: Store, key: str) -> None:
    """Change one bit in the middle of a key."""
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 0x10
    store.put(key, bytes(data))


@pytest.mark.parametrize("how", ["gone", "flipped", "cut"])
@pytest.mark.parametrize(
    "ending",
    [
        "run.json",
        "start.json",
        "0000000000.json",
        ".parquet",
        ".bundle",
        "objects",
        "plan.json",
        "code.json",
        "end.json",
    ],
)
def test_each_kind_of_damage(store: Store, whole: Path, ending: str, how: str) -> None:
    """The key is as it was, byte for byte, and nothing else was written."""
    wanted = contents(open_store(whole))
    key = next(key for key in sorted(wanted) if key.endswith(ending) or key.startswith(ending))
    if how == "gone":
        store.delete([key])
    elif how == "flipped":
        flip(store, key)
    else:
        store.put(key, wanted[key][: len(wanted[key]) // 2])
    is_told = not report_of(store).ok  # not every bit of a document matters

    found = repaired(store, open_store(whole))

    assert sound(store)
    may_be_thinned = "/checkpoints/" in key  # by a policy: what is not there is not known to be lost
    if is_told or (how == "gone" and not may_be_thinned):
        assert key in found.repaired
        assert contents(store) == wanted


def test_all_at_once(store: Store, whole: Path) -> None:
    """Every object and every bundle is lost, and a document that names further ones."""
    wanted = contents(open_store(whole))
    lost = [key for key in wanted if key.startswith(keys.OBJECTS) or key.endswith((".bundle", "0000000001.json"))]
    store.delete(lost)
    lacked = {problem.key for problem in report_of(store).problems}

    found = repaired(store, open_store(whole))

    assert set(found.repaired) >= lacked
    assert not found.unrepaired
    assert sound(store)


def test_what_is_damaged_in_both_is_named_and_left_alone(store: Store, whole: Path, tmp_path: Path) -> None:
    """A replacement that cannot be proven replaces nothing."""
    other = open_store(copy_of(whole, tmp_path / "other"))
    names = [key for key in contents(store) if key.startswith(keys.OBJECTS)]
    flip(store, names[0])
    flip(other, names[0])
    store.delete([names[1]])
    other.delete([names[1]])
    flip(store, names[2])
    before = store.get(names[0])

    found = repaired(store, other)

    assert found.repaired == [names[2]]
    assert found.unrepaired[names[1]] == NOT_THERE
    assert "damaged, too" in found.unrepaired[names[0]]
    assert store.get(names[0]) == before
    assert found.report is not None
    assert not found.report.ok


def test_a_document_under_a_wrong_name_is_not_taken(tmp_path: Path) -> None:
    """The other store has another run's document there."""
    for name in ("one", "other"):
        small_run(tmp_path / name, seed=1)
    one, other = open_store(tmp_path / "one"), open_store(tmp_path / "other")
    key = next(info.key for info in one.list() if info.key.endswith("run.json"))
    theirs = next(info.key for info in other.list() if info.key.endswith("run.json"))
    other.put(key, other.get(theirs))
    one.delete([key])

    found = repaired(one, other)

    assert "renamed by hand" in found.unrepaired[key]
    assert not found.repaired


def test_every_lost_segment_comes_back(store: Store, whole: Path) -> None:
    """Values that the end counts, and lines of output, of which nothing tells."""
    wanted = contents(open_store(whole))
    store.delete([key for key in wanted if key.endswith(".parquet")])
    assert {problem.key for problem in report_of(store).problems} >= {
        keys.data_folder(run) for run in store.folders(keys.RUNS)
    }

    repaired(store, open_store(whole))

    assert contents(store) == wanted


def test_the_failure_of_a_rank_comes_back(store: Store, whole: Path, tmp_path: Path) -> None:
    """Without it the attempt seems to have finished, and nothing else tells."""
    other = open_store(copy_of(whole, tmp_path / "other"))
    key = next(key for key in contents(other) if key.endswith("/end.json")).replace("/end.json", "/failure.json")
    other.put(key, encode(RankFailure(rank=1, ended=2e9, exit_code=1)))

    assert repaired(store, other).repaired == [key]


@pytest.mark.parametrize("interval_s", [0.0, 1e9])
def test_the_end_of_a_killed_attempt_comes_back(store: Store, whole: Path, interval_s: float) -> None:
    """Recovery wrote it beside the lease, which stays; one that still shows signs of life has no end yet."""
    end = next(key for key in contents(store) if key.endswith("/end.json"))
    elsewhere = msgspec.structs.replace(this_writer(), host="elsewhere", boot="another")
    lease = Lease(writer=elsewhere, renewed=time.time() - 1e6, interval_s=interval_s)
    store.put(end.replace("/end.json", "/lease.json"), encode(lease))
    store.delete([end])

    assert repaired(store, open_store(whole)).repaired == ([] if interval_s else [end])


@pytest.mark.parametrize("is_seen", [True, False])
def test_what_an_interrupted_removal_left_is_not_filled_up(store: Store, whole: Path, is_seen: bool) -> None:
    """What was fetched would say that somebody wants the run, and the removal would never be finished."""
    run = store.folders(keys.RUNS)[0]
    store.put(keys.removal_document(run), encode(Removal(run=run, removed=time.time())))
    gone = [info.key for info in store.list(keys.run_folder(run)) if info.key.endswith((".parquet", "/end.json"))]
    store.delete(gone if is_seen else [keys.run_document(run), *gone])

    repaired(store, open_store(whole))

    assert finish_removals(store) == [run]
    assert not list(store.list(keys.run_folder(run)))


def test_what_was_copied_while_a_run_went_on_is_not_counted_twice(tmp_path: Path) -> None:
    """The other store has the first half as a segment of its own."""
    source, other = tmp_path / "source", tmp_path / "other"
    with tracker.run(store=source, capture=(), flush_interval_s=1000.0):
        for step in tracker.loop("step", range(20)):
            tracker.log("loss", step)
            if step == 10:
                sync(source, other)
    copied = contents(open_store(other)).keys()
    own = contents(open_store(source))

    repaired(open_store(source), open_store(other))

    assert any(key.endswith(".parquet") for key in copied - own.keys())
    assert contents(open_store(source)) == own


def test_a_sound_store_is_only_read(store: Store, whole: Path) -> None:
    """Nothing is fetched or written."""
    before = {info for info in store.list()}

    found = repaired(store, open_store(whole))

    assert not found.repaired
    assert set(store.list()) == before


def test_all_runs_are_listed_at_once(store: Store, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing for each run of a large store, on either side, would take hours."""
    listed, real = list[str](), LocalStore.list

    def listing(self: LocalStore, prefix: str = "") -> Iterator[Info]:
        listed.append(prefix)
        return real(self, prefix)

    monkeypatch.setattr(LocalStore, "list", listing)
    assert not list(lost_keys(store, open_store(whole)))

    assert sorted(listed) == [keys.REMOVED, keys.RUNS, keys.RUNS]
