"""Restoring checkpoints while a run is executed again, or resumed: which blocks are skipped, and where to begin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from tracker.checkpoint.beginnings import variables_of
from tracker.checkpoint.blocks import Spot
from tracker.checkpoint.counting import Counts
from tracker.checkpoint.hashing import hash_parts
from tracker.checkpoint.manifest import Manifest, Position, read_manifest
from tracker.checkpoint.program import capture_state, restore_state
from tracker.checkpoint.reading import ReadAhead, StoredTensors, TensorReader
from tracker.errors import InputError
from tracker.record.replaying import Order
from tracker.store.base import Store

Place = tuple[tuple[tuple[str, Any], ...], int, str, int, int]


def place_of(position: Position) -> Place:
    """What two executions of one block have in common."""
    return tuple(position.around), position.execution, position.loop, position.iteration, position.block


class Restorer:
    """Does what an `Order` says. ``stop`` ends the process after its last iteration.

    A checkpoint that cannot be restored is an error of the replay, and raises: going on would give wrong answers.
    """

    def __init__(
        self, store: Store, order: Order, objects: Mapping[str, Any], *, counts: Counts, stop: Callable[[], None]
    ) -> None:
        self.store, self.order, self.objects, self.counts, self.stop = store, order, objects, counts, stop
        found = [read_manifest(store, key) for key in order.manifests]
        self._exits = {place_of(manifest.position): manifest for manifest in found}
        self._start: Manifest | None = None
        if order.checkpoint is not None:
            self._start = read_manifest(store, order.checkpoint)
            self._exits[place_of(self._start.position)] = self._start
        self._following = {(one.attempt, one.number): next_one for one, next_one in pairwise(found)}
        self._reader = TensorReader(store)
        self._ahead = ReadAhead(self._reader)
        self._pending: Manifest | None = None
        self._awaited: Manifest | None = None  # begun at, and its block has not been met yet

    def begin(self, around: tuple[tuple[str, Any], ...], execution: int, loop: str) -> int:
        """The iteration of the checkpoint to begin at, or the one after it."""
        start = self._start
        if start is None or (around, execution, loop) != place_of(start.position)[:3]:
            return 0
        self._pending = start
        return start.position.iteration + (start.position.block < 0)

    def start(self, spot: Spot) -> None:
        """Restore the checkpoint to begin at: whole, where it is the end of an iteration; else so that its names are
        there for the beginning of the iteration, until the block itself is skipped.
        """
        if self._pending is not None:
            began = variables_of([spot.outer])
            restore_state(self._pending, self._tensors(self._pending), self.objects, spot, began=began)
            self._awaited = self._pending if self._pending.position.block >= 0 else None
            self._pending = None

    def skip(self, position: Position, spot: Spot, advance: Callable[[int], None]) -> bool:
        """Restore the exit of a block that need not be executed.

        The iterator comes first: taking from it may draw random numbers, or change what the checkpoint then sets.
        """
        before = self._is_before_start(position)
        if not before and self._must_run(position):
            return False
        manifest = self._exits.get(place_of(position))
        if manifest is None or (manifest.missing and not before):
            return before  # what it lacks would be wrong after it, so the block is executed
        if manifest.position.block_loop != position.block_loop:
            raise _elsewhere(manifest, f"the loop {position.block_loop!r}")
        advance(manifest.position.consumed)
        began = variables_of(spot.frames() or [])
        restore_state(manifest, self._tensors(manifest), self.objects, spot, began=began, at_entry=True)
        self._read_ahead(manifest)
        self._awaited = None if manifest is self._start else self._awaited
        self._report(position, "skipped")
        return True

    def leave(self, position: Position, spot: Spot, block_s: float) -> None:
        """Compare the state after a block that was executed with that of the original."""
        manifest = self._exits.get(place_of(position))
        if manifest is None or not manifest.hashes:
            self._report(position, "ran")
            return
        capture = capture_state(self.objects, spot, like=manifest)  # probes may use more variables than the run did
        hashes = hash_parts(capture.parts(), capture.tensors)
        idle = {f"generator.{kind}" for kind in manifest.idle}  # not seeded, maybe, and not used
        differing = sorted(
            name for name, known in manifest.hashes.items() if hashes.get(name) != known and name not in idle
        )
        self._report(position, "ran", hash_equal=not differing, differing=differing)

    def end_iteration(self, position: Position) -> None:
        """End the process after the last iteration that was asked for."""
        if self._awaited is not None:
            raise _elsewhere(self._awaited, "the end of the iteration")
        if self._is_divided(position) and self.order.last is not None and position.iteration >= self.order.last:
            self.stop()

    def finish(self) -> None:
        """Nothing waits to be written."""

    def _tensors(self, manifest: Manifest) -> StoredTensors:
        return StoredTensors(self._reader, manifest.tensors)

    def _read_ahead(self, manifest: Manifest) -> None:
        """The checkpoint behind this one is likely the next to be restored."""
        following = self._following.get((manifest.attempt, manifest.number))
        if following is not None and not self._must_run(following.position):
            self._ahead.want(following)

    def _is_divided(self, position: Position) -> bool:
        """Whether it stands in the loop whose iterations are shared among slices."""
        return position.loop == self.order.loop and position.execution == 0 and not position.around

    def _must_run(self, position: Position) -> bool:
        order, loop = self.order, position.block_loop
        if self._is_divided(position):
            last = position.iteration if order.last is None else order.last
            if not order.first <= position.iteration <= last:
                return False
        return order.run_blocks is None or loop in order.run_blocks

    def _is_before_start(self, position: Position) -> bool:
        """Whether the block lies at or before the checkpoint to begin at, in the same loop."""
        start = self._start
        if start is None or place_of(start.position)[:3] != place_of(position)[:3]:
            return False
        return (position.iteration, position.block) <= (start.position.iteration, start.position.block)

    def _report(self, position: Position, did: str, **more: Any) -> None:
        if self.order.report:
            line = {"iteration": position.iteration, "block": position.block, "loop": position.block_loop, "did": did}
            with open(self.order.report, "a", encoding="utf-8") as file:
                file.write(json.dumps({"hash_equal": None, "differing": [], **line, **more}) + "\n")


def _elsewhere(manifest: Manifest, met: str) -> InputError:
    """The program took another way than the run: whatever it did next would be wrong."""
    position = manifest.position
    return InputError(
        f"in {position.loop}={position.iteration} the program met {met} where the run met block {position.block}, "
        f"{position.block_loop!r}: what it did before the block depends on more than the checkpoint holds"
    )
