"""Collections take nothing for worthless that they could not read, and look again before anything goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tracker
from tests.read.building import It, Logged, Writer, log_run, make_run
from tracker.checkpoint.manifest import list_checkpoints
from tracker.errors import StoreUnavailable
from tracker.replay.documents import Plan, PlannedRun, Question, Slice
from tracker.store import ids, keys
from tracker.store.base import Info, Store
from tracker.store.documents import encode
from tracker.store.local import LocalStore
from tracker.store.memory import MemoryStore
from tracker.store.open import open_store
from tracker.upkeep import retention_gc
from tracker.upkeep.removal import Belongings, Remover
from tracker.upkeep.retention import Best, Policy
from tracker.upkeep.retention_gc import collect

BEST = Policy(best=(Best("loss", "min"),), grace_s=0)


@pytest.fixture
def store() -> Store:
    return open_store(f"memory://{ids.new_id()}")


def loss(epoch: int, value: float) -> Logged:
    return Logged((It("epoch", epoch),), "loss", value)


def there(store: Store) -> list[str]:
    return [run for run in store.folders(keys.RUNS) if list(store.list(keys.run_folder(run)))]


def plan_replay(store: Store, run: str, checkpoint: str | None = None) -> None:
    replay = ids.new_id()
    plan = Plan(
        replay=replay,
        created=0.0,
        question=Question(names=("x",)),
        workers=1,
        runs=(PlannedRun(run=run, attempt=run),),
        slices=(Slice(number=0, run=run, checkpoint=checkpoint),),
    )
    store.put(keys.replay_plan(replay), encode(plan))


def test_what_cannot_be_read_is_not_worthless(store: Store) -> None:
    """The run stays, and with what is left of it takes nobody's place among the best."""
    torn = make_run(store)
    writer = Writer(store, torn, torn)
    writer.seal(loss(0, 0.1))
    [damaged] = writer.seal(loss(1, 0.9))
    good, bad = (log_run(store, loss(0, value)) for value in (0.5, 0.7))
    store.put(damaged, b"PAR1 no more")

    found = collect(store, BEST, dry_run=False)

    assert (list(found.runs), found.spared) == ([bad], {torn: f"{damaged} cannot be read"})
    assert there(store) == [torn, good]


def test_a_store_that_does_not_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run is worth is not known then; nothing goes that might be the best."""
    best, _ = (log_run(store, loss(0, value)) for value in (0.1, 0.5))
    real = MemoryStore.open

    def away(self: MemoryStore, key: str) -> object:
        if best in key:
            raise StoreUnavailable("the store does not answer")
        return real(self, key)

    monkeypatch.setattr(MemoryStore, "open", away)
    with contextlib.suppress(StoreUnavailable):
        collect(store, BEST, dry_run=False)

    assert best in there(store)


@pytest.mark.filterwarnings("ignore::tracker.read.notices.DamageWarning")
def test_a_condition_on_what_cannot_be_read(store: Store) -> None:
    """It seems to hold because the value is missing."""
    torn = make_run(store, end=False)
    [damaged] = Writer(store, torn, torn).seal(Logged((), "acc", 0.9))
    bad = make_run(store, summary={"acc": 0.1})
    store.put(damaged, b"PAR1 no more")

    found = collect(store, Policy(last=0, grace_s=0), where=lambda run: run.get("acc", 0) < 0.5, dry_run=False)

    assert (list(found.runs), found.spared) == ([bad], {torn: f"{damaged} cannot be read"})


@pytest.mark.filterwarnings("ignore::tracker.read.notices.DamageWarning")
def test_a_run_inside_of_one_that_cannot_be_read(store: Store) -> None:
    """They stay together."""
    outer = make_run(store)
    inner = make_run(store, parent=outer)
    store.put(keys.run_document(outer), b"{")

    found = collect(store, Policy(last=0, grace_s=0), dry_run=False)

    assert found.spared == dict.fromkeys((outer, inner), f"{keys.run_document(outer)} cannot be read")
    assert there(store) == [outer, inner]


def trained(folder: Path) -> tuple[Store, str]:
    """A run with twelve checkpoints; the sixth is the best."""
    net = {"w": np.zeros(4)}
    with tracker.run(store=folder, capture=(), checkpoints="all") as run, tracker.checkpointing(net=net):
        for epoch in tracker.loop("epoch", range(12)):
            net["w"] = net["w"] + 1
            tracker.log("acc", -abs(epoch - 5))
    return open_store(folder), run.id


THIN = Policy(best=(Best("acc"),), checkpoints=8, grace_s=0)


def test_checkpoints_stay_when_nobody_knows_which_is_the_best(tmp_path: Path) -> None:
    """The values of the run cannot be read."""
    store, run = trained(tmp_path / "store")
    damaged = next(info.key for info in store.list(keys.data_folder(run)) if "/epoch/" in info.key)
    store.put(damaged, b"PAR1 no more")

    found = collect(store, Policy(checkpoints=8, best=THIN.best, grace_s=0), dry_run=False)

    assert found.spared == {run: f"{damaged} cannot be read"}
    assert len(list_checkpoints(store, run)) == 12


def test_a_manifest_that_cannot_be_read_stays(tmp_path: Path) -> None:
    """It may be that of the best, and another store may have it."""
    store, run = trained(tmp_path / "store")
    damaged = keys.checkpoint_document(run, list_checkpoints(store, run)[0].split("/")[3], 5)
    store.put(damaged, b"{")

    collect(store, THIN, dry_run=False)

    assert damaged in list_checkpoints(store, run)


def test_a_foreign_file_among_checkpoints(tmp_path: Path) -> None:
    """It is no checkpoint, and stays; the others are thinned."""
    store, run = trained(tmp_path / "store")
    foreign = list_checkpoints(store, run)[0].rsplit("/", 1)[0] + "/notes.txt"
    store.put(foreign, b"mine")

    found = collect(store, THIN, dry_run=False)

    assert found.checkpoints == {run: 8}
    assert store.get(foreign) == b"mine"


def while_removing(monkeypatch: pytest.MonkeyPatch, run: str, action: Callable[[], object]) -> None:
    """Let something happen while a run is being removed."""
    real = Remover.remove

    def remove(remover: Remover, own: Belongings, *, reason: str = "") -> int:
        if own.run == run:
            action()
        return real(remover, own, reason=reason)

    monkeypatch.setattr(Remover, "remove", remove)


def test_it_looks_again_before_a_run_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others were tagged, started again, asked or pinned since it was decided; families stay as a whole."""

    def record() -> str:
        with tracker.run(store=tmp_path / "store", capture=()) as run:
            tracker.log("acc", 1)
        return run.id

    first, tagged, again, asked = (record() for _ in range(4))
    with tracker.run(store=tmp_path / "store", capture=()) as outer:
        inner = record()
    store = open_store(tmp_path / "store")

    def meddle() -> None:
        tracker.tag(tagged, add=["paper"], store=store)
        with tracker.run(store=store.url, capture=(), run_id=again):
            tracker.log("acc", 2)
        plan_replay(store, asked)
        tracker.pin(inner, store=store)

    while_removing(monkeypatch, first, meddle)
    found = collect(store, Policy(last=0, tags=("paper",), grace_s=0), dry_run=False)

    assert list(found.runs) == [first]
    assert found.spared == {
        tagged: "it is tagged paper",
        again: "it was started again meanwhile",
        asked: "a replay of it is not finished",
        **dict.fromkeys((outer.id, inner), "it is pinned"),
    }
    assert sorted(there(store)) == sorted(found.spared)


def test_a_checkpoint_that_a_replay_begins_at_since_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was planned while the best was looked for."""
    store, run = trained(tmp_path / "store")
    asked, real = list_checkpoints(store, run)[3], retention_gc.best_of

    def best_of(*given: object) -> set[str]:
        plan_replay(store, run, asked)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(retention_gc, "best_of", best_of)
    found = collect(store, THIN, dry_run=False)

    assert found.checkpoints == {run: 7}
    assert asked in list_checkpoints(store, run)


def test_it_looks_again_by_one_listing_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a dry run, of which nothing goes, does not look for new replays before each run."""
    store, run = trained(tmp_path / "store")
    listed, real, real_folders = list[str](), LocalStore.list, LocalStore.folders

    def listing(self: LocalStore, prefix: str = "") -> Iterator[Info]:
        listed.append(prefix)
        return real(self, prefix)

    def folders(self: LocalStore, prefix: str = "", *, after: str = "") -> list[str]:
        listed.append(prefix)
        return real_folders(self, prefix, after=after)

    monkeypatch.setattr(LocalStore, "list", listing)
    monkeypatch.setattr(LocalStore, "folders", folders)

    assert collect(store, Policy(checkpoints=8, grace_s=0)).checkpoints
    assert keys.REPLAYS not in listed
    assert collect(store, Policy(checkpoints=8, grace_s=0), dry_run=False).checkpoints
    assert listed.count(keys.run_folder(run)) == 1
    assert listed.count(keys.REPLAYS) == 1


def test_no_more_goes_than_was_shown(store: Store) -> None:
    """Between the question and the answer a run came, and another one is not among the last any more."""
    first, second = (log_run(store, loss(0, 1.0)) for _ in range(2))
    policy = Policy(last=1, grace_s=0)
    shown = collect(store, policy)
    third = log_run(store, loss(0, 1.0))

    found = collect(store, policy, dry_run=False, shown=shown)

    assert (list(found.runs), list(found.spared)) == ([first], [second])
    assert there(store) == [second, third]
    assert list(collect(store, policy, dry_run=False).runs) == [second]
