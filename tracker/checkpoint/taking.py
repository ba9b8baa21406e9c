"""Taking checkpoints while a run goes on: a consistent copy at the exit of a block, written by a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tracker.checkpoint.beginnings import Beginning
from tracker.checkpoint.blocks import Spot
from tracker.checkpoint.counting import counts_of
from tracker.checkpoint.generators import capture_generators
from tracker.checkpoint.hashing import hash_parts
from tracker.checkpoint.manifest import Manifest, Position
from tracker.checkpoint.policy import Policy
from tracker.checkpoint.program import Capture, begin_at, capture_state, size_of
from tracker.checkpoint.storing import State, StoredState, publish_state
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import pickled_paths
from tracker.errors import Unavailable
from tracker.record.run import Run
from tracker.record.shipping import away, write_somewhere
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import encode

_PATIENCE_S = 600.0  # for the last checkpoint, when the program is done
_LOOKING_SHARE = 0.01  # of the time that may go into looking at variables before short blocks
_LONGEST_S = 0.5  # without a look, since one may take long by chance


class Taker:
    """Takes the checkpoints of one attempt. Errors are told once and never reach the program.

    One checkpoint is copied on the program's thread, and written on another, the manifest last; while one is being
    written no other is begun. A process that is killed loses the one that is being written, and no other.
    """

    def __init__(self, run: Run, objects: Mapping[str, Any], policy: Policy) -> None:
        self.run, self.objects, self.policy = run, objects, policy
        self.counts = counts_of(run)
        self._stored: StoredState | None = None
        self._generators: dict[str, str] = {}  # their hashes when the loop began
        self._idle = threading.Event()
        self._idle.set()
        self._waiting: queue.SimpleQueue[tuple[Capture, Manifest] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._told: set[str] = set()
        self._beginning: Beginning | None = None
        self._entry: Beginning | None = None
        self._may_take = True
        self._look_again = 0.0  # on the clock of time.perf_counter

    def build_on(self, manifests: Sequence[Manifest]) -> None:
        """Go on from checkpoints that earlier attempts stored: what they hold is not written again."""
        self._stored = StoredState.of(manifests)

    def begin(self, around: tuple[tuple[str, Any], ...], execution: int, loop: str) -> int:
        """Nothing is known of the future: every iteration is entered."""
        self._beginning = None
        return 0

    def start(self, spot: Spot) -> None:
        """The clock of the policy starts; generators that stay as they are now need not be compared."""
        self.note(spot)
        self.policy.begin()
        tensors: list[TensorData] = []
        self._generators = hash_parts(capture_generators(tensors), tensors)

    def note(self, spot: Spot) -> None:
        """Remember the objects that the loop begins with, once for each of its executions."""
        if self._beginning is None:
            self._beginning = self._look(spot)

    def skip(self, position: Position, spot: Spot, advance: Callable[[int], None]) -> bool:
        """Every block is executed; what it begins with is remembered, where a checkpoint may be taken at its exit."""
        began = time.perf_counter()
        self._may_take = self.policy.mode == "all" or began >= self._look_again
        if self._may_take:
            self._entry = self._look(spot)
            ended = time.perf_counter()
            self._look_again = ended + min((ended - began) / _LOOKING_SHARE, _LONGEST_S)
        return False

    def _look(self, spot: Spot) -> Beginning | None:
        try:
            return begin_at(self.objects, spot)
        except Exception as exc:  # noqa: BLE001  code of the objects; states then go into what is there
            self._tell(f"the variables cannot be looked at: {type(exc).__name__}: {exc}")
            return None

    def end_iteration(self, position: Position) -> None:
        """Nothing to do."""

    def leave(self, position: Position, spot: Spot, block_s: float) -> None:
        """Take a checkpoint here, if the policy wants one."""
        if position.block >= 0 and not self._may_take:
            return  # blocks are so short that looking at the variables before each would cost more than it gains
        try:
            if self.policy.mode == "all":
                self._idle.wait()
            if self._idle.is_set() and self.policy.wants(size_of(self.objects)):
                self._take(position, spot, block_s)
        except Exception as exc:  # noqa: BLE001  the program goes on as if nothing had been asked
            self._tell(f"no checkpoint at {describe_position(position)}: {type(exc).__name__}: {exc}")

    def finish(self) -> None:
        """Wait until the last checkpoint is written."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join(_PATIENCE_S)

    def _take(self, position: Position, spot: Spot, block_s: float) -> None:
        began = time.perf_counter()
        entry = None if position.block < 0 else self._entry
        capture = capture_state(self.objects, spot, beginning=self._beginning, entry=entry)
        for name, reason in capture.missing.items():
            self._tell(f"{name} is not part of the checkpoints, so replays execute every block again: {reason}")
        copied_s = time.perf_counter() - began
        self.policy.took(copied_s)
        manifest = Manifest(
            run=self.run.id,
            attempt=self.run.attempt,
            number=next(self.counts.numbers),
            position=position,
            created=time.time(),
            elapsed_s=time.time() - self.run.started,
            block_s=block_s,
            cost_s=copied_s,
            size_bytes=capture.size_bytes,
            stored_bytes=0,
            objects=capture.objects,
            generators=capture.generators,
            frames=capture.frames,
            missing=capture.missing,
            pickled=tuple(path for name, tree in capture.parts().items() for path in pickled_paths(tree, name)),
            can_begin=capture.can_begin,
        )
        self._idle.clear()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="hindsight-checkpoints", daemon=True)
            self._thread.start()
        self._waiting.put((capture, manifest))

    def _write_all(self) -> None:
        while (item := self._waiting.get()) is not None:
            try:
                self._write(*item)
            except Unavailable as exc:
                self._tell(away(self.run.store.url, exc))
            except Exception as exc:  # noqa: BLE001  a checkpoint less; the program and the others go on
                self._tell(f"a checkpoint could not be written: {type(exc).__name__}: {exc}")
            finally:
                self._idle.set()

    def _write(self, capture: Capture, manifest: Manifest) -> None:
        began, written_s = time.thread_time(), 0.0
        state = State(capture.parts(), capture.tensors)

        def publish(home: Store, stored: StoredState) -> None:
            nonlocal written_s
            written_s = time.thread_time() - began
            self._publish(home, manifest, stored, written_s)

        self._stored = write_somewhere(
            self.run, lambda home: publish_state(home, state, self._stored, partial(publish, home))
        )
        self.policy.wrote(written_s, manifest.size_bytes, copied_s=manifest.cost_s)

    def _publish(self, home: Store, manifest: Manifest, stored: StoredState, written_s: float) -> None:
        import msgspec

        idle = [kind for kind, known in self._generators.items() if stored.hashes.get(f"generator.{kind}") == known]
        done = msgspec.structs.replace(
            manifest,
            idle=tuple(idle),
            tensors=stored.tensors,
            stored_bytes=stored.written_bytes,
            rests_on=stored.rests_on,
            hashes=stored.hashes,
            state_hash=stored.state_hash,
            cost_s=manifest.cost_s + written_s,
        )
        key = keys.checkpoint_document(manifest.run, manifest.attempt, manifest.number)
        home.put(key, encode(done))

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            self.run.recorder.warn_once(problem)


def describe_position(position: Position) -> str:
    """A block exit for people: ``the end of step in epoch=3``."""
    around = "".join(f"{name}={value}, " for name, value in position.around)
    inner = f"the end of {position.block_loop} in " if position.block_loop else "the end of "
    return f"{inner}{around}{position.loop}={position.iteration}"
