"""Two stores that were both written to: nothing of either is lost, and both end alike, whoever begins."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracker
from tests.syncing.stores import contents, copy_of, open_run, small_run, sound
from tracker.replay.documents import SliceResult
from tracker.replay.kinds import ALL_KINDS
from tracker.store import documents, keys
from tracker.store.base import Store
from tracker.store.documents import EndDocument, Launch, Lease, Removal, RunDocument, encode
from tracker.store.ids import new_id
from tracker.store.kinds import Merge
from tracker.store.memory import MemoryStore
from tracker.store.merging import ends, launches, leases, runs
from tracker.store.open import open_store
from tracker.store.processes import this_writer
from tracker.syncing.journals import covered
from tracker.syncing.stores import sync

RUNS = [new_id() for _ in range(3)]
ATTEMPTS = [new_id() for _ in range(2)]
MARKS = [new_id() for _ in range(2)]
LAUNCHES = ["a", "b"]

moments = st.integers(0, 5).map(float)
launch = st.builds(Launch, launch_key=st.just("a"), run=st.sampled_from(RUNS))
run = st.builds(
    RunDocument,
    run=st.just(RUNS[0]),
    project=st.sampled_from("pq"),
    created=moments,
    script=st.just("s"),
    tags=st.lists(st.sampled_from("xyz"), max_size=3).map(tuple),
)
lease = st.builds(Lease, writer=st.just(this_writer()), renewed=moments, interval_s=moments)
end = st.builds(
    EndDocument,
    status=st.sampled_from(["finished", "killed"]),
    ended=moments,
    records=st.integers(0, 3),
    recovered=st.booleans(),
    summary=st.dictionaries(st.sampled_from("ab"), st.floats(allow_nan=True), max_size=2),
)

result = st.builds(
    SliceResult,
    replay=st.just(RUNS[0]),
    number=st.just(0),
    run=st.just(RUNS[1]),
    outcome=st.sampled_from(["answered", "diverged", "failed", "timed out"]),
    values=st.integers(0, 2),
)


def rule_of(kind: type) -> Merge:
    """The rule of merging for documents of a kind."""
    (rule,) = (each.merge for each in ALL_KINDS if each.form is kind)
    assert rule is not None
    return rule


@pytest.mark.parametrize(
    ("rule", "some"),
    [
        (launches, launch),
        (runs, run),
        (leases, lease),
        (ends, end),
        (rule_of(SliceResult), result),
    ],
)
def test_rules_do_not_depend_on_the_order(rule, some) -> None:  # type: ignore[no-untyped-def]
    """Whichever store asks, in whatever order stores meet, and however often: the same document."""

    @given(some, some, some)
    @settings(max_examples=150, deadline=None)
    def check(one, two, three) -> None:  # type: ignore[no-untyped-def]
        assert encode(rule(rule(one, two), two)) == encode(rule(one, two))
        assert encode(rule(one, two)) == encode(rule(two, one))
        assert encode(rule(rule(one, two), three)) == encode(rule(one, rule(two, three)))

    check()


def store_of(written: list[tuple[str, bytes]]) -> Store:
    """A store in memory with these keys."""
    store = open_store(f"memory://{secrets.token_hex(8)}")
    for key, data in written:
        store.put(key, data)
    return store


@st.composite
def writings(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """Documents of a few runs, as one store may have them."""
    written: list[tuple[str, bytes]] = []
    for name in draw(st.sets(st.sampled_from(RUNS))):
        document = RunDocument(run=name, project="p", created=draw(moments), script="s")
        written.append((keys.run_document(name), encode(document)))
        for attempt in draw(st.sets(st.sampled_from(ATTEMPTS))):
            start = documents.StartDocument(
                run=name, attempt=attempt, started=0.0, entry=documents.Entry(kind="script"), pid=1, writer="w"
            )
            written.append((keys.attempt_document(name, attempt, "start"), encode(start)))
            if draw(st.booleans()):
                written.append((keys.attempt_document(name, attempt, "lease"), encode(draw(lease))))
            if draw(st.booleans()):
                written.append((keys.attempt_document(name, attempt, "end"), encode(draw(end))))
        for number in draw(st.sets(st.sampled_from(MARKS))):
            mark = documents.Mark(run=name, mark=number, at=0.0, add=(number,))
            written.append((keys.mark_document(name, number), encode(mark)))
        for text in draw(st.sets(st.sampled_from(LAUNCHES))):
            written.append((keys.launch_document(text), encode(Launch(launch_key=text, run=name))))
    return written


removed = st.sets(st.sampled_from(RUNS))


@given(writings(), writings(), removed, removed)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_was_removed_from_one_stays_away(
    one: list[tuple[str, bytes]], other: list[tuple[str, bytes]], gone: set[str], gone_there: set[str]
) -> None:
    """And stays in the other; of the runs that both have, both have the same."""
    given_, stores = set[str](), []
    for written, lost in ((one, gone), (other, gone_there)):
        kept = [(key, data) for key, data in written if key.startswith(keys.RUNS) and key.split("/")[1] not in lost]
        given_.update(key.split("/")[1] for key, _ in kept)
        told = [(keys.removal_document(name), encode(Removal(run=name, removed=0.0))) for name in lost]
        stores.append(store_of(kept + told))
    for source, target in (stores, stores[::-1], stores):
        sync(source, target)

    first, second = (living(contents(store)) for store in stores)
    assert set(stores[0].folders(keys.RUNS)) == given_ - gone
    assert set(stores[1].folders(keys.RUNS)) == given_ - gone_there
    shared = [f"{keys.RUNS}{name}/" for name in given_ - gone - gone_there]
    for prefix in shared:
        assert of_prefix(first, prefix) == of_prefix(second, prefix)


def of_prefix(found: dict[str, bytes], prefix: str) -> dict[str, bytes]:
    """The keys below a prefix."""
    return {key: data for key, data in found.items() if key.startswith(prefix)}


@given(writings(), writings())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_diverged_stores_meet(one: list[tuple[str, bytes]], other: list[tuple[str, bytes]]) -> None:
    """In whichever order they are brought together, both have the same, and every key of both."""
    results = []
    for turn in (1, -1):
        first, second = (store_of(each) for each in (one, other)[::turn])
        sync(first, second)
        sync(second, first)
        assert living(contents(first)) == living(contents(second))
        assert sync(first, second).keys == 0
        results.append(living(contents(first)))
        MemoryStore(first.url.removeprefix("memory://")).delete(contents(first))
        MemoryStore(second.url.removeprefix("memory://")).delete(contents(second))

    assert results[0] == results[1]
    assert results[0].keys() == living(dict(one + other)).keys()


def living(found: dict[str, bytes]) -> dict[str, bytes]:
    """Without signs of life of attempts that have ended, which nobody reads."""
    return {
        key: data
        for key, data in found.items()
        if not key.endswith("/lease.json") or key.removesuffix("lease.json") + "end.json" not in found
    }


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one run, from which others diverge."""
    folder = tmp_path_factory.mktemp("begun") / "store"
    small_run(folder)
    return folder


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """For each of two stores a run of its own at several moments: while it logs, behind a commit, after its end."""
    found: dict[str, list[Path]] = {}
    for name in "ab":
        folder = tmp_path_factory.mktemp(f"growing-{name}")
        with open_run(folder / "store") as run:
            for step in tracker.loop("step", range(30)):
                tracker.log("loss", step)
                if step == 20:
                    run.commit()
                if step in {5, 12, 20, 25}:
                    found.setdefault(name, []).append(copy_of(folder / "store", folder / str(step)))
        found[name].append(folder / "store")
    return found


ACTIONS = ["run", "attempt", "grow", "sync", "back"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(ACTIONS)), max_size=12))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_history_of_two_stores(begun: Path, growing: dict[str, list[Path]], history: list[tuple[str, str]]) -> None:
    """Runs, further attempts and runs that go on, on both sides, brought over now and then: every record arrives, and
    once.
    """
    folder = Path(tempfile.mkdtemp())
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    try:
        stores = {name: copy_of(begun, folder / name) for name in "ab"}
        moments = {name: [None, *growing[name]] for name in "ab"}
        ends = [(name, "grow") for name in "ab" for _ in growing[name]]
        for name, action in [*history, *ends]:
            other = stores["b" if name == "a" else "a"]
            if action == "run":
                small_run(stores[name], seed=len(history))
            elif action == "attempt":
                _attempt(stores[name])
            elif action == "grow":
                _grow(stores[name], moments[name])
            else:
                sync(stores[name], other, full=action == "back")
                assert _logged(other) == sorted({*_logged(other), *_logged(stores[name])})
        logged = set(_logged(stores["a"]) + _logged(stores["b"]))
        sync(stores["a"], stores["b"])
        sync(stores["b"], stores["a"])

        assert needed(stores["a"]) == needed(stores["b"])
        assert _logged(stores["a"]) == _logged(stores["b"]) == sorted(logged)
        assert len(logged) >= 6 + 30 + 30
        assert sound(open_store(stores["a"]))
    finally:
        del os.environ["XDG_CACHE_HOME"]
        shutil.rmtree(folder)


def needed(store: Path) -> dict[str, bytes]:
    """What is read of a store: where a run was brought to and fro while it went on, a covered segment may be left."""
    found = living(contents(open_store(store)))
    return {key: found[key] for key in found.keys() - covered(found)}


def _grow(store: Path, moments: list[Path | None]) -> None:
    """Let the run of a store's own go on to its next moment, as its recorder does: what is new first."""
    if len(moments) == 1:
        return
    before, after = moments.pop(0), moments[0]
    assert after is not None
    shutil.copytree(after / "runs", store / "runs", dirs_exist_ok=True)
    for file in [] if before is None else before.glob("runs/**/*"):
        if file.is_file() and not (after / file.relative_to(before)).exists():
            (store / file.relative_to(before)).unlink()


def _attempt(store: Path) -> None:
    """A further attempt of the same launch, which may be new to this store."""
    with tracker.run(project="sync", store=store, capture=(), launch_key="task"):
        for step in tracker.loop("step", range(3)):
            tracker.log("loss", step)


def _logged(store: Path) -> list[tuple[object, ...]]:
    """What was logged by which attempt, every value of it."""
    frame = tracker.dataframe("loss", "attempt", store=store, attempts="all")
    wanted = [name for name in ("epoch", "step", "loss") if name in frame]
    rows = frame.assign(epoch=frame.get("epoch", -1)).fillna(-1)[["attempt", *wanted]].values.tolist()
    return sorted(tuple(row) for row in rows)
