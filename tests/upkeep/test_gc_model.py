"""Collections of random stores beside a simple model of what needs what."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracker.checkpoint.manifest import Manifest, Position, Tensor
from tracker.replay.documents import Plan, PlannedRun, Question, Slice, SliceResult
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, CodeFile, EndDocument, RunDocument, Snapshot, encode
from tracker.store.open import open_store
from tracker.upkeep import retention_sweep
from tracker.upkeep.removal import remove_runs
from tracker.upkeep.retention import Policy
from tracker.upkeep.retention_checkpoints import spaced
from tracker.upkeep.retention_gc import collect

OBJECTS = [blake3(bytes([number])).hexdigest() for number in range(12)]
COMMITS = [f"{number:040x}" for number in range(5)]
SOME = st.lists(st.integers(0, 11), max_size=3)


@dataclass
class RunPlan:
    """What a random run names: a snapshot, and for each checkpoint its objects and those below them."""

    code: int
    checkpoints: list[tuple[list[int], list[int]]]
    asked: list[int]  # objects of the replays that ask it


@dataclass
class World:
    """A random store: snapshot n builds on an earlier one, or holds the files that are objects."""

    builds_on: list[int | None]
    files: list[list[int]]
    runs: list[RunPlan] = field(default_factory=list)


RUN = st.builds(RunPlan, st.integers(0, 4), st.lists(st.tuples(SOME, SOME), max_size=6), SOME)
WORLD = st.builds(
    World,
    st.tuples(*(st.none() if not n else st.none() | st.integers(0, n - 1) for n in range(5))).map(list),
    st.lists(SOME, min_size=5, max_size=5),
    st.lists(RUN, max_size=5),
)


def build(world: World) -> tuple[Store, list[str]]:
    """The store of a random world, and its runs."""
    store = open_store(f"memory://{ids.new_id()}")
    for number, digest in enumerate(OBJECTS):
        store.put(keys.object_key(digest), bytes([number]))
    for number, commit in enumerate(COMMITS):
        write_snapshot(store, world, number, commit)
    runs = [write_run(store, plan) for plan in world.runs]
    for run, plan in zip(runs, world.runs, strict=True):
        for asked in plan.asked:
            write_replay(store, run, OBJECTS[asked])
    return store, runs


def is_git(world: World, number: int) -> bool:
    return not world.files[number]


def write_snapshot(store: Store, world: World, number: int, commit: str) -> None:
    below = world.builds_on[number]
    if is_git(world, number):
        head = f"-{COMMITS[below]} snapshot\n" if below is not None and is_git(world, below) else ""
        store.put(keys.code_bundle(commit), f"# v2 git bundle\n{head}{commit} refs/x\n\nPACK".encode())
    files = tuple(CodeFile(path=str(each), digest=OBJECTS[each], size_bytes=1) for each in world.files[number])
    kind = "git" if is_git(world, number) else "files"
    document = Snapshot(snapshot=commit, kind=kind, created=0.0, size_bytes=1, files=files)  # type: ignore[arg-type]
    store.put(keys.code_document(commit), encode(document))


def write_run(store: Store, plan: RunPlan) -> str:
    run = attempt = ids.new_id()
    store.put(keys.run_document(run), encode(RunDocument(run=run, project="p", created=0.0, script="s")))
    code = CodeDocument(snapshot=COMMITS[plan.code])
    store.put(keys.attempt_document(run, attempt, "code"), encode(code))
    store.put(keys.attempt_document(run, attempt, "end"), encode(EndDocument(status="finished", ended=0.0)))
    for number, (own, below) in enumerate(plan.checkpoints):
        tensors = tuple(Tensor(digest=OBJECTS[each], dtype="U8", shape=(1,), object=OBJECTS[each]) for each in own)
        about = {"created": 0.0, "elapsed_s": 0.0, "block_s": 0.0, "cost_s": 0.0, "size_bytes": 0, "stored_bytes": 0}
        manifest = Manifest(
            run=run,
            attempt=attempt,
            number=number,
            position=Position(loop="epoch", iteration=number),
            tensors=tensors,
            rests_on=tuple(OBJECTS[each] for each in below),
            **about,  # type: ignore[arg-type]
        )
        store.put(keys.checkpoint_document(run, attempt, number), encode(manifest))
    return run


def write_replay(store: Store, run: str, sources: str) -> None:
    replay = ids.new_id()
    plan = Plan(
        replay=replay,
        created=0.0,
        question=Question(names=("x",)),
        workers=1,
        runs=(PlannedRun(run=run, attempt=run, sources=sources),),
        slices=(Slice(number=0, run=run),),
    )
    store.put(keys.replay_plan(replay), encode(plan))
    result = SliceResult(replay=replay, number=0, run=run, outcome="answered")
    store.put(keys.replay_result(replay, 0), encode(result))


def model(world: World, kept: list[int], spacing: int | None) -> set[str]:
    """The payloads and snapshots that a store with these runs alone needs."""
    found: set[str] = set()

    def need_code(number: int) -> None:
        found.add(keys.code_document(COMMITS[number]))
        found.update(keys.object_key(OBJECTS[each]) for each in world.files[number])
        if is_git(world, number):
            found.add(keys.code_bundle(COMMITS[number]))
            below = world.builds_on[number]
            if below is not None and is_git(world, below):
                need_code(below)

    for plan in (world.runs[number] for number in kept):
        need_code(plan.code)
        last = len(plan.checkpoints) - 1
        for number, (own, below) in enumerate(plan.checkpoints):
            if spacing is None or last < 2 or number % spacing == 0 or number == last:
                found.update(keys.object_key(OBJECTS[each]) for each in (*own, *below))
        found.update(keys.object_key(OBJECTS[each]) for each in plan.asked)
    return found


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written this moment may go."""
    monkeypatch.setattr(retention_sweep, "CLOCK_S", -1.0)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    world=WORLD,
    removed=st.sets(st.integers(0, 4)),
    last=st.none() | st.integers(0, 5),
    spacing=st.none() | st.integers(1, 4),
)
def test_what_is_needed_stays_and_nothing_else(
    world: World, removed: set[int], last: int | None, spacing: int | None
) -> None:
    """After runs were removed by hand and by policy; a dry run says the same, and a second collection does nothing."""
    store, runs = build(world)
    remove_runs(store, [run for number, run in enumerate(runs) if number in removed])
    left = [number for number in range(len(runs)) if number not in removed]
    kept = left if last is None else left[len(left) - min(last, len(left)) :]
    policy = Policy(last=last, checkpoints=spacing, grace_s=0)

    told = collect(store, policy)
    found = collect(store, policy, dry_run=False)

    assert (told.runs, told.counts, told.sizes_bytes) == (found.runs, found.counts, found.sizes_bytes)
    assert set(found.runs) == {runs[number] for number in left} - {runs[number] for number in kept}
    there = {info.key for info in store.list() if info.key.startswith((keys.OBJECTS, keys.CODE))}
    assert there == model(world, kept, spacing)
    assert not collect(store, policy, dry_run=False).counts
    assert not list(store.list(keys.SWEEPS))


@settings(max_examples=60, deadline=None)
@given(numbers=st.sets(st.integers(0, 200), min_size=1), spacing=st.integers(1, 9) | st.just("log"))
def test_spacing_keeps_the_ends(numbers: set[int], spacing: int) -> None:
    """Whatever was taken away before."""
    from tracker.store.base import Info

    run = ids.new_id()
    infos = [Info(keys.checkpoint_document(run, run, number), 1) for number in sorted(numbers)]

    left = [info for info in infos if info not in spaced(infos, spacing)]  # type: ignore[arg-type]

    assert {infos[0], infos[-1]} <= set(left)
    assert spaced(left, spacing) == []  # type: ignore[arg-type]
