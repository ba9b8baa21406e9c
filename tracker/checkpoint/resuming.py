"""Resuming a run from its last checkpoint: the beginning of a replay, and from there on an ordinary run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracker.checkpoint.blocks import Spot
from tracker.checkpoint.manifest import Position, read_manifest
from tracker.checkpoint.replaying import Restorer
from tracker.checkpoint.taking import Taker
from tracker.record.replaying import Order


class Resumer:
    """Restores one checkpoint, and takes new ones after it."""

    def __init__(self, taker: Taker, order: Order) -> None:
        self.taker, self.counts = taker, taker.counts
        if order.checkpoint is not None:
            taker.build_on([read_manifest(taker.run.store, order.checkpoint)])
        self.restorer = Restorer(taker.run.store, order, taker.objects, counts=taker.counts, stop=lambda: None)

    def begin(self, around: tuple[tuple[str, Any], ...], execution: int, loop: str) -> int:
        """Iterations before the checkpoint are not entered."""
        self.taker.begin(around, execution, loop)
        return self.restorer.begin(around, execution, loop)

    def start(self, spot: Spot) -> None:
        """Restore the state, and start the clock."""
        self.taker.note(spot)
        self.restorer.start(spot)
        self.taker.start(spot)

    def skip(self, position: Position, spot: Spot, advance: Callable[[int], None]) -> bool:
        """Blocks up to the checkpoint are not executed again."""
        return self.restorer.skip(position, spot, advance) or self.taker.skip(position, spot, advance)

    def leave(self, position: Position, spot: Spot, block_s: float) -> None:
        """Take a checkpoint, as in any run."""
        self.taker.leave(position, spot, block_s)

    def end_iteration(self, position: Position) -> None:
        """See to it that the block of the checkpoint was met."""
        self.restorer.end_iteration(position)

    def finish(self) -> None:
        """Wait until the last checkpoint is written."""
        self.taker.finish()
