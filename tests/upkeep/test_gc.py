"""Collections by policy: what stays, what goes with its reason, and what only garbage needed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import tracker
from tests.conftest import remote
from tests.syncing.stores import contents, copy_of, project_store, small_run, sound
from tests.upkeep.aging import aged
from tracker.checkpoint.capturing import Capturing
from tracker.checkpoint.manifest import list_checkpoints, read_manifest
from tracker.checkpoint.reading import StoredTensors, TensorReader
from tracker.checkpoint.storing import State, publish_state, store_state
from tracker.checkpoint.tensors import TensorData
from tracker.errors import BadSetting, Conflict, NameNotFound
from tracker.store import durable, holds, ids, keys
from tracker.store.base import Store
from tracker.store.documents import Hold, encode
from tracker.store.holds import Holding, Sweeping, holding, relying
from tracker.store.local import LocalStore
from tracker.store.objects import put_object
from tracker.store.open import open_store
from tracker.upkeep import retention_gc, retention_sweep
from tracker.upkeep.retention import Policy
from tracker.upkeep.retention_checkpoints import spaced
from tracker.upkeep.retention_gc import collect
from tracker.upkeep.retention_summary import Collected


def record(store: Path | Store, *, acc: float = 0.0, project: str = "gc", **more: object) -> str:
    """A tiny run with a result."""
    where = store.url if isinstance(store, Store) else store
    with tracker.run(store=where, project=project, capture=(), **more) as run:  # type: ignore[arg-type]
        tracker.log("acc", acc)
    return run.id


def kept(store: Path | Store, **policy: object) -> list[str]:
    """The runs that a policy leaves, by a collection that really happens."""
    opened = store if isinstance(store, Store) else open_store(store)
    collect(opened, Policy.of({"grace": 0, **policy}), dry_run=False)
    assert sound(opened)
    return [view.run for view in tracker.runs(store=opened)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_the_last_of_each_project(folder: Path) -> None:
    """Counted in each project for itself."""
    runs = [record(folder, project=project) for project in ("a", "b", "a", "a", "b")]

    assert kept(folder, keep_last=2) == [runs[1], *runs[2:]]
    assert kept(folder, keep_last=1) == runs[3:]
    assert kept(folder, keep_last=0) == []


def test_the_best(folder: Path) -> None:
    """By a metric, up or down; one that a run does not have or that is no number is never the best."""
    runs = [record(folder, acc=acc) for acc in (0.3, 0.9, float("nan"), 0.5)]
    with tracker.run(store=folder, project="gc", capture=()):
        tracker.log("acc", "high")

    assert kept(folder, keep_best=["acc", "acc:min"]) == [runs[0], runs[1]]
    assert kept(folder, keep_best="acc:max:1") == [runs[1]]


def test_the_best_by_what_was_logged_in_a_loop(folder: Path) -> None:
    """The last value counts; one of 400 digits is a number, too."""
    runs = []
    for values in ([0.9, 0.1], [0.1, 0.5], [10**400, -(10**400)]):
        with tracker.run(store=folder, project="gc", capture=()) as run:
            for epoch in tracker.loop("epoch", range(2)):
                tracker.log("acc", values[epoch])
            tracker.log("size", values[0])
        runs.append(run.id)

    assert kept(folder, keep_best=["acc", "size"]) == runs[1:]
    assert kept(folder, keep_best="acc") == [runs[1]]


def test_a_metric_that_no_run_has_is_a_slip(folder: Path) -> None:
    """Nothing goes by it, and the error names those that are near."""
    runs = [record(folder), record(folder)]

    with pytest.raises(NameNotFound, match="no run of 'gc' has a number 'ac'; did you mean 'acc'"):
        kept(folder, keep_best=["acc", "ac"])

    assert [view.run for view in tracker.runs(store=folder)] == runs


def test_the_young(folder: Path) -> None:
    """None of these is older than a day; all are older than nothing."""
    run = record(folder)

    assert kept(folder, keep_younger="1d") == [run]
    assert kept(folder, keep_younger=0) == []


def test_rules_add_up(folder: Path) -> None:
    """A run stays when any rule keeps it, when it is pinned, or has a tag that protects it."""
    runs = [record(folder, acc=acc) for acc in (1.0, 0.1, 0.2, 0.3, 0.4)]
    tracker.pin(runs[1], store=folder)
    tracker.tag(runs[2], add=["paper"], store=folder)

    assert kept(folder, keep_last=1, keep_best="acc", keep_tagged="paper") == [runs[0], runs[1], runs[2], runs[4]]
    assert kept(folder, keep_last=1) == [runs[1], runs[4]]


def test_families_stay_together(folder: Path) -> None:
    """Runs inside of another one stay and go with it, and do not count."""
    families = []
    for _ in range(2):
        with tracker.run(store=folder, capture=(), project="gc") as outer:
            with tracker.run(store=folder, capture=(), project="gc") as inner:
                tracker.log("acc", 1)
            families.append([outer.id, inner.id])

    assert kept(folder, keep_last=1) == families[1]
    tracker.pin(families[1][1], store=folder)
    assert kept(folder, keep_last=0) == families[1]


def test_where_limits_the_rules(folder: Path) -> None:
    """Other runs are none of its business, and do not count."""
    runs = [record(folder, acc=acc) for acc in (0.1, 0.2, 0.3)]

    collect(open_store(folder), Policy(last=1, grace_s=0), where="acc < 0.25", dry_run=False)

    assert [view.run for view in tracker.runs(store=folder)] == runs[1:]


def test_no_rule_no_run(folder: Path) -> None:
    """Without a rule that keeps there is none that removes."""
    runs = [record(folder)]

    assert kept(folder) == kept(folder, keep_tagged="x", checkpoints="log") == runs


def test_who_is_spared_and_why(folder: Path) -> None:
    """The grace period and runs that go on, in words."""
    young = record(folder)
    with tracker.run(store=folder, capture=(), project="gc") as run:
        tracker.commit()
        found = collect(open_store(folder), Policy(last=0), dry_run=False)
        assert found.spared == {young: "it was alive within the last 24 h", run.id: "it is still running"}
    assert not found.runs


def test_a_dry_run_says_what_then_happens(folder: Path) -> None:
    """The same runs, checkpoints, keys and bytes; and it writes nothing."""
    for seed in range(4):
        small_run(folder, seed=seed)
    aged(folder)
    store = open_store(folder)
    before = set(store.list())
    policy = Policy(last=2, checkpoints=2, grace_s=0)

    told = collect(store, policy)
    assert set(store.list()) == before
    done = collect(store, policy, dry_run=False)

    assert (told.runs, told.checkpoints) == (done.runs, done.checkpoints)
    assert (told.counts, told.sizes_bytes) == (done.counts, done.sizes_bytes)
    assert done.counts["run"] == 2
    assert done.counts["object"] >= 2
    assert collect(store, policy, dry_run=False).counts == {}


def test_replays_and_code(tmp_path: Path) -> None:
    """Of two versions of the code one goes with its run; what the other builds on stays."""
    store = open_store(aged(project_store(tmp_path), hours=48))
    first, second = [view.run for view in tracker.runs(store=store)]

    found = collect(store, Policy(last=1, grace_s=0), dry_run=False)

    assert list(found.runs) == [first]
    assert sound(store)
    frame = tracker.dataframe("loss", "norm", store=store)
    assert set(frame["run"]) == {second}
    assert frame["norm"].notna().any()
    tracker.remove(second, store=store)
    assert collect(store, Policy(grace_s=0), dry_run=False).counts.keys() == {"object", "code", "replay"}


def test_checkpoints_between_others_go(folder: Path) -> None:
    """The first, the last and the best stay, and every one that stays is whole, whatever it is a difference from."""
    net = {"w": np.random.default_rng(0).normal(size=20_000).astype(np.float32)}
    with tracker.run(store=folder, capture=(), checkpoints="all") as run, tracker.checkpointing(net=net):
        for epoch in tracker.loop("epoch", range(12)):
            net["w"] = net["w"] * np.float32(1 + 1e-5)
            tracker.log("acc", -abs(epoch - 5))
    aged(folder)
    store = open_store(folder)
    assert any(tensor.base for key in list_checkpoints(store, run.id) for tensor in read_manifest(store, key).tensors)

    found = collect(store, Policy.of({"checkpoints": 4, "keep_best": "acc", "keep_last": 1}), dry_run=False)
    assert found.checkpoints == {}  # it is younger than a day by its own account
    found = collect(store, Policy.of({"checkpoints": 4, "keep_best": "acc", "keep_last": 1, "grace": 0}), dry_run=False)

    manifests = [read_manifest(store, key) for key in list_checkpoints(store, run.id)]
    assert [manifest.position.iteration for manifest in manifests] == [0, 4, 5, 8, 11]
    assert found.checkpoints == {run.id: 7}
    assert sound(store)
    wanted, w = [], np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    for _ in range(12):
        wanted.append(w := w * np.float32(1 + 1e-5))
    for manifest in manifests:
        read = StoredTensors(TensorReader(store), manifest.tensors)
        [tensor] = [each for each in read if each.shape == (20_000,)]
        assert bytes(tensor.data) == wanted[manifest.position.iteration].tobytes()


@pytest.mark.parametrize("values", [range(1, 13), range(0, 24, 2), [str(number) for number in range(12)]])
def test_the_best_checkpoint_whatever_the_loop_goes_through(folder: Path, values: Sequence[object]) -> None:
    """Its place counts, and not the loop's value, which may be another's place."""
    net = {"w": np.zeros(4)}
    with tracker.run(store=folder, capture=(), checkpoints="all") as run, tracker.checkpointing(net=net):
        for number, _ in enumerate(tracker.loop("epoch", values)):
            net["w"] = net["w"] + 1
            tracker.log("acc", -abs(number - 5))

    kept(folder, checkpoints=8, keep_best="acc")

    store = open_store(folder)
    places = [read_manifest(store, key).position.iteration for key in list_checkpoints(store, run.id)]
    assert places == [0, 5, 8, 11]


@pytest.mark.parametrize("spacing", [1, 3, "log"])
@pytest.mark.parametrize("count", [1, 2, 3, 17, 64])
def test_spacing_twice_is_spacing_once(spacing: int, count: int) -> None:
    """First and last stay; what was chosen is chosen again."""
    from tracker.store.base import Info

    attempt = ids.new_id()
    infos = [Info(keys.checkpoint_document(attempt, attempt, number), 1, 0.0) for number in range(count)]

    gone = spaced(infos, spacing)  # type: ignore[arg-type]
    left = [info for info in infos if info not in gone]

    assert {infos[0], infos[-1]} <= set(left)
    assert spaced(left, spacing) == []  # type: ignore[arg-type]
    assert len(left) <= {1: count, 3: count // 3 + 2}.get(spacing, 9)


@pytest.mark.parametrize("address", remote("local", "memory", "obstore", "s3fs"), indirect=True)
def test_payloads_wait_for_the_end_of_the_grace_period(store: Store) -> None:
    """By the store's clock; without grace they wait a few seconds, because stores tell times by the second."""
    digest = put_object(store, b"nobody's")

    assert collect(store, Policy(grace_s=3600), dry_run=False).counts == {}
    deadline = time.monotonic() + 60
    while not (found := collect(store, Policy(grace_s=0), dry_run=False)).counts:
        assert time.monotonic() < deadline
        time.sleep(0.2)

    assert found.counts == {"object": 1}
    assert keys.object_key(digest) not in contents(store)


class Watched(LocalStore):
    """A store that does something just before a key of some kind is written."""

    before: dict[str, object]

    def put(self, key: str, data: bytes | memoryview) -> None:
        action = self.before.pop(key.split("/")[0], None)
        if callable(action):
            action()
        super().put(key, data)


def garbage(folder: Path, seed: int = 0) -> LocalStore:
    """A store with the objects of a run that is gone."""
    run = small_run(folder, seed=seed)
    tracker.remove(run, store=folder)
    return LocalStore(aged(folder))


def swept(store: Store) -> Collected:
    return collect(store, Policy(grace_s=0), dry_run=False)


def test_a_payload_that_goes_before_it_is_held_is_written_anew(tmp_path: Path) -> None:
    """A state finds all its tensors; a collection takes them before they are held."""
    plain = open_store(tmp_path / "store")
    tensors: list[TensorData] = []
    tree = Capturing(tensors).take([np.arange(20_000.0), np.ones(20_000)], "w")
    state = State({"w": tree}, tensors)
    names = {tensor.object for tensor in store_state(plain, state).tensors}
    store, published = Watched(tmp_path / "store"), list[int]()
    taken: list[int] = []

    aged(tmp_path / "store")
    store.before = {"holds": lambda: taken.append(swept(plain).counts["object"])}
    publish_state(store, state, None, lambda stored: published.append(len(taken)))

    assert (taken, published) == ([2], [1])
    assert {keys.object_key(name) for name in names} <= contents(plain).keys()


def test_a_payload_that_is_held_stays(tmp_path: Path) -> None:
    """While it is held, and after that when a document names it."""
    store = garbage(tmp_path / "store")
    held, *others = [info.key for info in store.list(keys.OBJECTS)]

    with relying(store, [held]) as gone:
        assert gone == []
        assert swept(store).counts == {"object": len(others)}
    assert list(contents(store)).count(held) == 1

    assert swept(store).counts == {"object": 1}
    assert not list(store.list(keys.HOLDS))


def test_a_writer_waits_for_a_sweep(tmp_path: Path) -> None:
    """And sees afterwards what is gone."""
    store = garbage(tmp_path / "store")
    first = next(store.list(keys.OBJECTS)).key
    sweeping, seen = Sweeping(store), list[list[str]]()
    sweeping.begin()

    def write() -> None:
        with relying(store, [first]) as gone:
            seen.append(gone)

    writer = threading.Thread(target=write)
    writer.start()
    while not list(store.list(keys.HOLDS)):
        time.sleep(0.01)
    assert seen == []
    sweeping.delete([first])
    sweeping.end()
    writer.join(60)

    assert seen == [[first]]


def test_a_writer_of_other_keys_does_not_wait(tmp_path: Path) -> None:
    """A sweep names what it may delete; one that relies on everything waits for each."""
    store = garbage(tmp_path / "store")
    first, second, *_ = [info.key for info in store.list(keys.OBJECTS)]
    sweeping = Sweeping(store, [first])
    sweeping.begin()

    with relying(store, [second]) as gone:
        assert gone == []
    sweeping.end()


def test_many_keys_take_several_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots first, then what only they needed: one collection is enough."""
    store = open_store(aged(project_store(tmp_path), hours=48))
    monkeypatch.setattr(retention_sweep, "MOST", 2)

    assert collect(store, Policy(last=0, grace_s=0), dry_run=False).complete

    assert not list(store.list(keys.OBJECTS))
    assert not list(store.list(keys.CODE))


def test_while_somebody_relies_on_everything(tmp_path: Path) -> None:
    """A sync is at work: nothing is swept, which is told; afterwards it is."""
    store = garbage(tmp_path / "store")
    with Holding(store) as everything:
        everything.begin()
        found = swept(store)
        assert not found.complete
        assert "being copied" in found.problems["objects"]
    assert swept(store).complete
    assert not list(store.list(keys.OBJECTS))


def test_one_collection_at_a_time(tmp_path: Path) -> None:
    """The second ends and says so, also one that begins in the middle of the first; a dead one stops nobody."""
    store = garbage(tmp_path / "store")
    sweeping = Sweeping(store)
    sweeping.begin()
    assert swept(store).problems == {"objects": "another collection is at work"}
    sweeping.end()
    code = (
        "import os, sys\nfrom tracker.store.holds import Sweeping\nfrom tracker.store.local import LocalStore\n"
        "Sweeping(LocalStore(sys.argv[1])).begin()\nos.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, store.url], check=False).returncode == -9
    assert len(list(store.list(keys.SWEEPS))) == 1

    assert swept(store).complete
    assert not list(store.list(keys.OBJECTS))


def test_a_sweep_that_was_held_up_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that slept deletes nothing afterwards: writers do not wait for it any more."""
    store, asleep_s = garbage(tmp_path / "store"), [0.0]
    began, real = time.monotonic(), holds.held_keys
    monkeypatch.setattr(holds, "clock_s", lambda: time.monotonic() - began + asleep_s[0])

    def sleeping(*given: object) -> object:
        asleep_s[0] += holds.SWEEP_LIFE_S
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(retention_sweep, "held_keys", sleeping)

    assert "held up" in swept(store).problems["objects"]
    assert list(store.list(keys.OBJECTS))
    assert not list(store.list(keys.SWEEPS))


def test_a_copy_that_was_held_up_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it found may be gone meanwhile."""
    asleep_s = [0.0]
    monkeypatch.setattr(holds, "clock_s", lambda: time.monotonic() + asleep_s[0])
    with Holding(garbage(tmp_path / "store")) as everything:
        everything.begin()
        everything.check()
        asleep_s[0] = holds.EVERYTHING_LIFE_S
        with pytest.raises(Conflict, match="held up"):
            everything.check()


def test_what_killed_writers_left(tmp_path: Path) -> None:
    """Holds of dead processes bind nobody, and go, as do unfinished files and sweeps; those of the living stay."""
    store = garbage(tmp_path / "store")
    code = (
        "import os, sys\nfrom tracker.store.holds import Holding\nfrom tracker.store.local import LocalStore\n"
        "Holding(LocalStore(sys.argv[1])).begin()\nos.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, store.url], check=False).returncode == -9
    store.put(keys.sweep_document(ids.new_id()), b"{}")
    (store.root / "runs" / f"{durable.TEMPORARY}abc").write_bytes(b"half")
    aged(store.root, hours=2)

    with holding(store, ["objects/00/" + "0" * 64]):
        found = swept(store)
        assert found.counts["leftover"] == 3
        assert len(list(store.list(keys.HOLDS))) == 1

    assert found.complete
    assert not list(durable.leftovers(store.root))


def test_a_hold_from_another_machine_expires(tmp_path: Path) -> None:
    """Nobody can see whether its writer lives; after a day it does not."""
    store = garbage(tmp_path / "store")
    hold = Hold(hold=ids.new_id(), created=0.0, everything=True)
    store.put(keys.hold_document(hold.hold), encode(hold))
    assert not swept(store).complete

    aged(store.root, hours=25)

    assert swept(store).complete
    assert not list(store.list(keys.HOLDS))


@pytest.mark.parametrize("name", ["code.json", "media/clip.json"])
def test_what_cannot_be_understood_keeps_payloads(tmp_path: Path, name: str) -> None:
    """A damaged document, or one of a newer version, may need any of them."""
    store = garbage(tmp_path / "store")
    run = record(store)
    attempt = store.folders(keys.attempts_folder(run))[0]
    key = name if "/" in name else f"{keys.attempts_folder(run)}{attempt}/{name}"
    store.put(key, b"{")

    found = swept(store)

    assert list(found.problems) == [key]
    assert list(store.list(keys.OBJECTS))
    store.delete([key])
    assert swept(store).complete
    assert not list(store.list(keys.OBJECTS))


def test_a_lost_snapshot_keeps_payloads(tmp_path: Path) -> None:
    """Nobody knows any more what it needs, and it may be brought back; until nothing names it."""
    store = open_store(aged(project_store(tmp_path), hours=48))
    put_object(store, b"nobody's")
    aged(Path(store.url), hours=48)
    lost = [info.key for info in store.list(keys.CODE) if info.key.endswith(".json")]
    store.delete(lost)

    found = collect(store, Policy(), dry_run=False)

    assert set(found.problems) <= set(lost)
    assert found.problems
    assert collect(store, Policy()).problems == found.problems
    assert not found.counts
    assert collect(store, Policy(last=0, grace_s=0)).complete


def test_who_begins_while_a_collection_reads_is_younger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is taken before documents are read."""
    order: list[str] = []
    real_time, real_read = retention_gc.store_time, retention_gc.read_graph
    monkeypatch.setattr(retention_gc, "store_time", lambda *given: order.append("time") or real_time(*given))
    monkeypatch.setattr(retention_gc, "read_graph", lambda *given: order.append("graph") or real_read(*given))

    swept(garbage(tmp_path / "store"))

    assert order[:2] == ["time", "graph"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"keep_lust": 1}, "expected keep_last, keep_best"),
        ({"keep_last": -1}, "a whole number from 0"),
        ({"keep_last": True}, "a whole number from 0"),
        ({"keep_best": "acc:max:0"}, "a whole number from 1"),
        ({"keep_younger": "3 fortnights"}, "such as 30d"),
        ({"keep_younger": -1}, "such as 30d"),
        ({"grace": "30"}, "such as 30d"),
        ({"checkpoints": "some"}, "'log'"),
        ({"keep_tagged": [1]}, "a text or a list of texts"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, object], told: str) -> None:
    """The name, the value, and what was expected."""
    with pytest.raises(BadSetting, match=told):
        Policy.of(settings)


def test_a_copy_of_a_store_is_collected_for_itself(tmp_path: Path) -> None:
    """``cp -r`` is a legal way to copy; holds and removals travel, and bind nobody wrongly."""
    store = garbage(tmp_path / "store")
    with holding(store, [info.key for info in store.list(keys.OBJECTS)]):
        copy = copy_of(store.root, tmp_path / "copy")
    assert swept(open_store(copy)).counts == {}  # its writer is alive
    aged(copy, hours=25)
    assert sound(open_store(copy))
