"""Which block exits a program has, and where iterators stand after a block was skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

import tracker
from tracker.checkpoint.blocks import Blocks, Spot
from tracker.checkpoint.counting import Counts
from tracker.checkpoint.manifest import Position
from tracker.record.context import set_watcher


class Notes:
    """A keeper that notes what it is told, and skips what it is asked to."""

    def __init__(self, first: int = 0, skipped: dict[tuple[int, int], int] | None = None) -> None:
        self.first, self.skipped, self.counts = first, skipped or {}, Counts()
        self.started: list[int] = []
        self.left: list[tuple[Any, ...]] = []
        self.frames: list[list[FrameType] | None] = []

    def begin(self, around: tuple[tuple[str, Any], ...], execution: int, loop: str) -> int:
        return self.first

    def start(self, spot: Spot) -> None:
        self.started.append(spot.outer_line)

    def skip(self, position: Position, spot: Spot, advance: Callable[[int], None]) -> bool:
        taken = self.skipped.get((position.iteration, position.block))
        if taken is not None:
            advance(taken)
        return taken is not None

    def leave(self, position: Position, spot: Spot, block_s: float) -> None:
        self.left.append((position.iteration, position.block, position.block_loop, position.consumed))
        self.frames.append(spot.frames())

    def end_iteration(self, position: Position) -> None:
        pass

    def finish(self) -> None:
        pass


@contextmanager
def watching(notes: Notes) -> Iterator[Notes]:
    set_watcher(Blocks(lambda: notes))
    try:
        with tracker.run(store="memory://blocks", capture=()):
            yield notes
    finally:
        set_watcher(None)


def test_every_execution_of_a_nested_loop_is_a_block() -> None:
    """Two loops in one iteration are two blocks; an iteration without any is one itself; deeper loops are none."""
    with watching(Notes()) as notes:
        for epoch in tracker.loop("epoch", range(3)):
            if epoch == 2:
                continue
            for _ in tracker.loop("step", range(4)):
                list(tracker.loop("part", range(2)))
            list(tracker.loop("check", range(2)))

    assert notes.left == [
        (0, 0, "step", 4),
        (0, 1, "check", 2),
        (1, 0, "step", 4),
        (1, 1, "check", 2),
        (2, -1, None, 0),
    ]


def test_a_break_ends_a_block_and_an_error_does_not() -> None:
    """After an error nobody knows whether the iteration would have gone on."""
    with watching(Notes()) as notes:
        for epoch in tracker.loop("epoch", range(3)):
            try:
                for step in tracker.loop("step", range(9)):
                    if step == 2 and epoch == 0:
                        break
                    if epoch == 1:
                        raise KeyError
            except KeyError:
                pass

    assert notes.left == [(0, 0, "step", 3), (2, 0, "step", 9)]


def test_a_loop_that_is_returned_from_is_no_block() -> None:
    """The rest of the iteration is in another function then, with other variables."""

    def first() -> int:
        for step in tracker.loop("step", range(9)):
            return step
        return -1

    with watching(Notes()) as notes:
        for _ in tracker.loop("epoch", range(1)):
            first()

    assert notes.left == []


def test_the_frames_lead_from_one_loop_to_the_other() -> None:
    """A nested loop in a function has that function's variables, too."""

    def train() -> None:
        for _ in tracker.loop("step", range(1)):
            pass

    with watching(Notes()) as notes:
        for _ in tracker.loop("epoch", range(1)):
            train()

    (frames,) = notes.frames
    assert frames is not None
    assert [frame.f_code.co_name for frame in frames] == [
        "test_the_frames_lead_from_one_loop_to_the_other",
        "train",
    ]


def test_skipping_goes_on_in_the_middle() -> None:
    """Iterations before the first are consumed and not entered; indices stay; skipped iterators are advanced."""
    stream = iter(range(100))
    seen, entered = [], []
    with watching(Notes(first=2, skipped={(2, 0): 10})):
        for epoch in tracker.loop("epoch", range(10, 14)):
            entered.append(epoch)
            for item in tracker.loop("step", (next(stream) for _ in range(10))):
                seen.append(item)

    assert entered == [12, 13]
    assert seen == list(range(10, 20))


class Loader:
    """Makes an iterator with side effects, as PyTorch's loaders do, which draw a seed."""

    def __init__(self) -> None:
        self.started = 0

    def __iter__(self) -> Iterator[int]:
        self.started += 1
        return iter(range(3))


def test_a_loader_is_started_as_often_as_without_the_tracker() -> None:
    """Once for each execution of its loop; not at all for one that is skipped."""
    loader = Loader()

    with watching(Notes(skipped={(1, 0): 3})):
        for _ in tracker.loop("epoch", range(3)):
            list(tracker.loop("step", loader))

    assert loader.started == 2


def test_nothing_is_watched_outside() -> None:
    """Without registered objects loops are what they are."""
    notes = Notes()
    with tracker.run(store="memory://blocks", capture=()):
        list(tracker.loop("epoch", range(3)))

    assert notes.left == []


@pytest.mark.parametrize("count", [0, 2])
def test_a_loop_that_ends_before_the_checkpoint_still_restores_it(count: int) -> None:
    """What follows the loop needs its state."""
    with watching(Notes(first=5)) as notes:
        assert list(tracker.loop("epoch", range(count))) == []

    assert len(notes.started) == 1
