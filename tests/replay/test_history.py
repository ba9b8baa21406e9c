"""What planning reads from a run's checkpoints and documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.read.building import START, It, Logged, Writer, make_run
from tracker.checkpoint.manifest import FrameState, Manifest, Position
from tracker.read.catalog import find_run
from tracker.replay.history import History, read_history
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, EndDocument, LoopTiming, encode
from tracker.store.ids import new_id
from tracker.store.open import open_store

TIMINGS = {
    "epoch": LoopTiming(iterations=4, total_s=40.0, mean_s=10.0, std_s=0.0),
    "epoch.step": LoopTiming(iterations=400, total_s=36.0, mean_s=0.09, std_s=0.0),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "store")


def add_attempt(store: Store, run: str, attempt: str, *, snapshot: str = "aa", **end: Any) -> None:
    """The documents of an attempt of a run."""
    code = CodeDocument(snapshot=snapshot)
    store.put(keys.attempt_document(run, attempt, "code"), encode(code))
    if end:
        about = {"status": "finished", "ended": START + 60} | end
        store.put(keys.attempt_document(run, attempt, "end"), encode(EndDocument(**about)))


def add_checkpoint(store: Store, run: str, attempt: str, number: int, /, iteration: int, **about: Any) -> str:
    """A manifest at the exit of the block ``step`` of an iteration."""
    where = {"loop": "epoch", "iteration": iteration, "block": 0, "block_loop": "step"} | about.pop("position", {})
    known = {"created": START, "elapsed_s": 12.0 + 10 * iteration, "block_s": 9.0, "cost_s": 0.1, "size_bytes": 600}
    manifest = Manifest(
        run=run, attempt=attempt, number=number, position=Position(**where), stored_bytes=0, **(known | about)
    )
    key = keys.checkpoint_document(run, attempt, number)
    store.put(key, encode(manifest))
    return key


def read(store: Store, run: str, **about: Any) -> History:
    view = find_run(store, run)
    return read_history(store, view, view.attempts[-1], **about)


def test_a_run_with_checkpoints(store: Store) -> None:
    """Iterations and costs come from the timings of its loops."""
    run = make_run(store, end=False)
    add_attempt(store, run, run, timings=TIMINGS)
    made = [add_checkpoint(store, run, run, number, iteration) for number, iteration in enumerate((0, 1, 3))]

    found = read(store, run)

    assert (found.loop, found.iterations, found.block_loops) == ("epoch", 4, ("step",))
    assert found.is_divisible
    assert found.loops == {"epoch", "step"}
    assert [one.key for one in found.checkpoints] == made
    assert found.costs.full_s == pytest.approx(10.0)
    assert found.costs.blocks_s == {"step": pytest.approx(9.0)}
    assert found.costs.before_s == pytest.approx(3.0)
    assert found.costs.after_s == pytest.approx(60 - 40 - 3.0)


def test_without_timings_the_checkpoints_tell(store: Store) -> None:
    """The time between them, and that of their blocks."""
    run = make_run(store, end=False)
    add_attempt(store, run, run, status="finished")
    for number in range(3):
        add_checkpoint(store, run, run, number, number)

    found = read(store, run)

    assert found.iterations == 3
    assert found.costs.full_s == pytest.approx(10.0)
    assert found.costs.rest_s == pytest.approx(1.0)


def test_a_run_without_checkpoints_has_no_checkpointed_loop(store: Store) -> None:
    """Nor has one whose arguments are changed: its states would be others."""
    run = make_run(store, end=False)
    add_attempt(store, run, run, timings=TIMINGS)
    assert read(store, run).loop is None

    add_checkpoint(store, run, run, 0, 0)

    assert read(store, run).loop == "epoch"
    assert read(store, run, exact=False).loop is None


def test_a_damaged_manifest_is_as_good_as_none(store: Store) -> None:
    """The others are used."""
    run = make_run(store, end=False)
    add_attempt(store, run, run, timings=TIMINGS)
    store.put(add_checkpoint(store, run, run, 0, 0), b"{")
    kept = add_checkpoint(store, run, run, 1, 1)

    assert [one.key for one in read(store, run).checkpoints] == [kept]


@pytest.mark.parametrize(
    "position", [{"execution": 1}, {"around": (("fold", 1),)}, {"around": (("phase", "train"),), "execution": 2}]
)
def test_a_loop_that_ran_several_times_is_not_divided(store: Store, position: dict[str, Any]) -> None:
    """Nor is one under another loop or step: a slice could not say which of its executions it means."""
    run = make_run(store, end=False)
    add_attempt(store, run, run, timings=TIMINGS)
    add_checkpoint(store, run, run, 0, 0)
    add_checkpoint(store, run, run, 1, 0, position=position)

    found = read(store, run)

    assert found.loop == "epoch"
    assert not found.is_divisible


def test_two_checkpointed_loops_are_executed_whole(store: Store) -> None:
    """A plan has room for one."""
    run = make_run(store, end=False)
    add_attempt(store, run, run, timings=TIMINGS)
    add_checkpoint(store, run, run, 0, 0)
    add_checkpoint(store, run, run, 1, 0, position={"loop": "tune"})

    assert read(store, run).loop is None


def test_attempts_with_the_same_code_share_checkpoints(store: Store) -> None:
    """A run that was resumed; the later attempt's win, those of other code do not count."""
    run, second, third = make_run(store, end=False), new_id(), new_id()
    add_attempt(store, run, run, snapshot="other", status="failed")
    add_attempt(
        store, run, second, status="killed", timings={"epoch": LoopTiming(iterations=3, total_s=30, mean_s=10, std_s=0)}
    )
    add_attempt(store, run, third, timings={"epoch": LoopTiming(iterations=2, total_s=20, mean_s=10, std_s=0)})
    add_checkpoint(store, run, run, 0, 0)
    first = add_checkpoint(store, run, second, 0, 1)
    add_checkpoint(store, run, second, 1, 2)
    again = add_checkpoint(store, run, third, 0, 2)
    last = add_checkpoint(store, run, third, 1, 3)

    found = read(store, run)

    assert [one.key for one in found.checkpoints] == [first, again, last]
    assert found.iterations == 4


def test_a_killed_run_has_the_iterations_that_it_logged(store: Store) -> None:
    """Nothing else tells them where no end was written."""
    run = make_run(store, end=False)
    add_attempt(store, run, run)
    add_checkpoint(store, run, run, 0, 0)
    Writer(store, run, run).seal(*(Logged((It("epoch", n), It("step", 0)), "loss", 0.5) for n in range(6)))

    found = read(store, run)

    assert found.iterations == 6
    assert not found.is_complete


def test_what_a_checkpoint_holds(store: Store) -> None:
    """Registered objects and variables; a name counts when all checkpoints of the block have it."""
    run = make_run(store, end=False)
    add_attempt(store, run, run, timings=TIMINGS)
    frame = FrameState(function="<module>", file="train.py", values={"loss": 1})
    add_checkpoint(store, run, run, 0, 0, objects={"model": {}}, frames=(frame,))
    add_checkpoint(store, run, run, 1, 1, objects={"model": {}}, can_begin=False)

    found = read(store, run)

    assert found.holds("model", "step")
    assert not found.holds("loss", "step")
    assert not found.holds("model", "test")
    begin = found.begin_at(3)
    assert begin is not None
    assert begin.iteration == 0
    assert found.begin_at(0) is None
