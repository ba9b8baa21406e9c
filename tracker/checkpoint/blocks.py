"""Blocks: what the checkpointed loop and the loops in it look like to whoever takes or restores checkpoints.

A block is one execution of a loop nested directly in the checkpointed loop, or one iteration of the checkpointed loop
in which no loop is nested. State is taken and restored at the exit of a block, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Protocol

from tracker.checkpoint.counting import Counts
from tracker.checkpoint.manifest import Position
from tracker.checkpoint.variables import frames_between, is_left_by_break
from tracker.record.context import current_scope, describe


@dataclass(frozen=True)
class Spot:
    """Where in the program a block stands: the frames of the two loops, and the lines of their heads.

    ``inner`` is ``None`` for a block that is an iteration of the checkpointed loop itself.
    """

    outer: FrameType
    outer_line: int
    inner: FrameType | None = None
    inner_line: int | None = None

    def frames(self) -> list[FrameType] | None:
        """From the function of the checkpointed loop down to that of the block; ``None`` where they do not connect."""
        return [self.outer] if self.inner is None else frames_between(self.outer, self.inner)


class Keeper(Protocol):
    """Who takes checkpoints, or restores them."""

    @property
    def counts(self) -> Counts:
        """What is counted over the run."""
        ...

    def begin(self, around: tuple[tuple[str, Any], ...], execution: int, loop: str) -> int:
        """A checkpointed loop is about to run; returns how many of its iterations need not be entered at all."""
        ...

    def start(self, spot: Spot) -> None:
        """The first iteration that is entered comes next."""
        ...

    def skip(self, position: Position, spot: Spot, advance: Callable[[int], None]) -> bool:
        """A nested loop is about to run. Whether its exit has been restored instead, after ``advance`` was called with
        the number of items that it would take.
        """
        ...

    def leave(self, position: Position, spot: Spot, block_s: float) -> None:
        """A block has ended."""
        ...

    def end_iteration(self, position: Position) -> None:
        """An iteration of the checkpointed loop is over, and the next one has not been asked for."""
        ...

    def finish(self) -> None:
        """The objects are registered no longer."""
        ...


class Blocks:
    """Watches the loops that run while objects are registered, in the thread or task that registered them.

    ``make_keeper`` is called when the first loop begins; it may say ``None``, and nothing is watched.
    """

    def __init__(self, make_keeper: Callable[[], Keeper | None]) -> None:
        self.keeper: Keeper | None = None
        self._make_keeper = make_keeper
        self.depth = 0  # 0: outside, 1: in the checkpointed loop, 2: in a block
        self._loop: _Loop | None = None

    def watch(self, name: str, iterable: Iterable[Any], caller: FrameType) -> tuple[Iterable[Any], int]:
        """What to iterate over instead, and the index of its first item."""
        if self.depth == 0:
            self.keeper = self.keeper or self._make_keeper()
            return (iterable, 0) if self.keeper is None else self._checkpointed(self.keeper, name, iterable, caller)
        if self.depth == 1:
            return self._nested(name, iterable, caller, caller.f_lineno), 0
        return iterable, 0

    def _checkpointed(
        self, keeper: Keeper, name: str, iterable: Iterable[Any], caller: FrameType
    ) -> tuple[Iterable[Any], int]:
        around = tuple(describe(current_scope()).items())
        execution = keeper.counts.executions[around, name]
        keeper.counts.executions[around, name] += 1
        first = keeper.begin(around, execution, name)
        loop = _Loop(keeper, name, around, execution, first, caller, caller.f_lineno)
        return self._iterate(loop, iterable), first

    def _iterate(self, loop: _Loop, iterable: Iterable[Any]) -> Iterator[Any]:
        if self.depth != 0:  # it was made outside, and is used inside of another
            yield from iterable
            return
        self.depth, self._loop = 1, loop
        keeper, spot = loop.keeper, Spot(loop.frame, loop.line)
        number = -1
        try:
            for number, item in enumerate(iterable):
                if number < loop.first:
                    continue
                if number == loop.first:
                    keeper.start(spot)
                loop.iteration, loop.blocks = number, 0
                began = time.perf_counter()
                yield item
                if loop.blocks == 0:
                    keeper.leave(loop.position(), spot, time.perf_counter() - began)
                keeper.end_iteration(loop.position())
            if number < loop.first:
                keeper.start(spot)  # every iteration lies before the checkpoint: what follows the loop needs its state
        finally:
            self.depth, self._loop = 0, None

    def _nested(self, name: str, iterable: Iterable[Any], caller: FrameType, line: int) -> Iterator[Any]:
        loop = self._loop
        if self.depth != 1 or loop is None:
            yield from iterable
            return
        block, consumed = loop.blocks, 0
        loop.blocks += 1
        spot = Spot(loop.frame, loop.line, caller, line)
        if loop.keeper.skip(loop.position(block, name), spot, partial(_advance, iterable)):
            return
        self.depth = 2
        began, ended = time.perf_counter(), False
        try:
            for item in iterable:
                consumed += 1
                yield item
            ended = True
        except GeneratorExit:
            ended = is_left_by_break(caller)
            raise
        finally:
            self.depth = 1
            if ended:
                loop.keeper.leave(loop.position(block, name, consumed), spot, time.perf_counter() - began)


@dataclass
class _Loop:
    """The checkpointed loop that runs now."""

    keeper: Keeper
    name: str
    around: tuple[tuple[str, Any], ...]
    execution: int
    first: int
    frame: FrameType
    line: int
    iteration: int = 0
    blocks: int = 0  # nested loops that have begun in this iteration

    def position(self, block: int = -1, name: str | None = None, consumed: int = 0) -> Position:
        return Position(
            around=self.around,
            execution=self.execution,
            loop=self.name,
            iteration=self.iteration,
            block=block,
            block_loop=name,
            consumed=consumed,
        )


def _advance(iterable: Iterable[Any], count: int) -> None:
    """Take from an iterator that may outlive its loop what the loop would have taken; others begin anew anyway."""
    if isinstance(iterable, Iterator):  # asking others for one may draw random numbers
        for _ in range(count):
            next(iterable, None)
