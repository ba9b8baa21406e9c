"""When to take a checkpoint: as many as replays gain from, and never at more than a share of the run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Mode = Literal["adaptive", "all", "none"]

_COPY_BYTES_PER_S, _WRITE_BYTES_PER_S, _READ_BYTES_PER_S = 1e9, 1.5e8, 4e8  # until they are measured
_LEAST_COST_S, _LEAST_RESTORE_S = 0.002, 0.01


@dataclass
class Policy:
    """Weighs the cost of checkpoints, as measured, against the time of the blocks that they would spare.

    A checkpoint is worth it when executing again what happened since the last one takes longer than restoring it, and
    allowed when it keeps the cost of all of them within ``limit``, a share of the time since the first block began.
    ``now`` gives seconds.
    """

    now: Callable[[], float]
    limit: float = 1 / 15
    mode: Mode = "adaptive"
    spent_s: float = 0.0
    _began: float | None = None
    _last: float | None = None
    _bytes: int = 0  # of the checkpoints whose cost was measured
    _cost_s: float = 0.0

    def begin(self) -> None:
        """A block begins; the clock starts with the first."""
        if self._began is None:
            self._began = self._last = self.now()

    def wants(self, size_bytes: int) -> bool:
        """Whether to take one now, of a state of this size."""
        if self.mode != "adaptive" or self._began is None or self._last is None:
            return self.mode == "all"
        now = self.now()
        elapsed, since = now - self._began, now - self._last
        if since < 2 * max(_LEAST_RESTORE_S, size_bytes / _READ_BYTES_PER_S):
            return False
        return self.spent_s + self.expected_s(size_bytes) <= self.limit * elapsed

    def expected_s(self, size_bytes: int) -> float:
        """What a checkpoint of this size will cost, going by those before it."""
        if self._bytes:
            return max(_LEAST_COST_S, self._cost_s * size_bytes / self._bytes)
        return max(_LEAST_COST_S, size_bytes / _COPY_BYTES_PER_S + size_bytes / _WRITE_BYTES_PER_S)

    def took(self, cost_s: float) -> None:
        """A checkpoint was copied, which held up the program for so long."""
        self.spent_s += cost_s
        self._last = self.now()

    def wrote(self, cost_s: float, size_bytes: int, *, copied_s: float) -> None:
        """It was written in the background, at the price of so much processor time that the program may have missed."""
        self.spent_s += cost_s
        # The latest ones count more: the first are the dearest, and deltas come later.
        self._cost_s = self._cost_s / 2 + cost_s + copied_s
        self._bytes = self._bytes // 2 + max(size_bytes, 1)
