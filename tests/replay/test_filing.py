"""Answers become segments of the run, and stand in its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.read.building import It, Key, Logged, Writer, make_run
from tracker.read.frame import dataframe
from tracker.replay.extent import chosen
from tracker.replay.filing import file_answers, shard_of
from tracker.replay.frontier import frontier_of
from tracker.replay.relogged import Logged as Rows
from tracker.replay.relogged import keep, read_logged
from tracker.store.base import Store
from tracker.store.ids import new_id
from tracker.store.keys import SegmentKey
from tracker.store.open import open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture
def scratch(tmp_path: Path) -> Store:
    return open_store(tmp_path / "scratch")


def replayed(scratch: Store, run: str, *records: Logged, names: tuple[str, ...] = ("norm",)) -> Rows:
    """What a process logged of these names."""
    Writer(scratch, run, new_id()).seal(*records)
    return read_logged(scratch, run, lambda metric: metric.name in names)


def test_answers_of_every_kind_come_back_as_they_were(store: Store, scratch: Store) -> None:
    """Loops in loops of the same name, iterated values, steps, labels, None, repeats, and names that collide."""
    run = make_run(store)
    place = (It("epoch", 0, 1.5), It("epoch", 2), Key("phase", "a"))
    values = [1.0, None, "text", [1, {"$x": 2}], 2**70]
    records = [Logged(place, "epoch", value, {"layer": 1}) for value in values]
    Writer(store, run, run).seal(*[Logged(place, "loss", float(i)) for i in range(5)])

    filed = file_answers(
        store, run, replayed(scratch, run, *records, names=("epoch",)), replay=new_id(), number=0, fidelity="exact"
    )

    frame = dataframe(store, "loss", "epoch", "fidelity")
    assert filed.values == 5
    assert frame["loss"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [*frame["epoch{layer=1}"]] == values
    assert set(frame["phase"]) == {"a"}
    assert frame["fidelity"].fillna("").tolist() == ["exact"] * 5


def test_filing_twice_publishes_the_same(store: Store, scratch: Store) -> None:
    """One answer, under the same keys."""
    run, replay = make_run(store), new_id()
    answers = replayed(scratch, run, Logged((It("step", 0),), "norm", 1.0))

    first = file_answers(store, run, answers, replay=replay, number=3, fidelity="exact")

    assert file_answers(store, run, answers, replay=replay, number=3, fidelity="exact") == first
    (key,) = first.segments
    parsed = SegmentKey.parse(key)
    assert parsed is not None
    assert parsed.shard == f"{replay}_00000003"
    assert dataframe(store, "norm")["norm"].tolist() == [1.0]


def test_shards_sort_as_their_slices_do() -> None:
    """So that what several slices say in one context keeps its order."""
    replay = new_id()
    shards = [shard_of(replay, number) for number in (0, 1, 31, 32, 1000, 31_000_000)]

    assert shards == sorted(shards)


def test_only_the_iterations_that_were_asked_for(store: Store, scratch: Store) -> None:
    """Of any loop."""
    run = make_run(store)
    records = [Logged((It("epoch", e), It("step", s)), "norm", float(10 * e + s)) for e in range(3) for s in range(3)]
    answers = replayed(scratch, run, *records)
    batch = answers["epoch", "step"]

    rows = chosen(batch, ("epoch", "step"), {"epoch": (0, 2), "step": (1,)})
    file_answers(store, run, {("epoch", "step"): keep(batch, rows)}, replay=new_id(), number=0, fidelity="exact")

    assert dataframe(store, "norm")["norm"].tolist() == [1.0, 21.0]


def test_nothing_beyond_the_end_of_a_run_is_an_answer(store: Store, scratch: Store) -> None:
    """By index along common loops; by time where they part."""
    run = make_run(store)
    old = [Logged((It("epoch", 0), It("step", s)), "loss", 1.0, time=100.0 + s) for s in range(3)]
    Writer(store, run, run).seal(*old)
    new = [
        *(Logged((It("epoch", i // 5), It("step", i % 5)), "loss", 1.0, time=200.0 + i) for i in range(10)),
        Logged((It("epoch", 0),), "loss", 1.0, time=199.0),
        Logged((It("epoch", 1),), "loss", 1.0, time=204.5),
        Logged((It("test", 0),), "loss", 1.0, time=300.0),
        Logged((), "early", 1.0, time=150.0),
    ]
    rows = replayed(scratch, run, *new, names=("loss", "early"))

    frontier = frontier_of(read_logged(store, run, lambda metric: True), rows)

    assert frontier is not None
    within = {path: int((~frontier.beyond(batch, path)).sum()) for path, batch in rows.items()}
    assert within == {("epoch", "step"): 3, ("epoch",): 1, ("test",): 0, (): 1}
