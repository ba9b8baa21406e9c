"""What the parts of a run cost to execute again, estimated from what was recorded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

START_S = 1.0  # of a process: interpreter, imports, the work tree from the store
_RESTORE_BASE_S = 0.005
_RESTORE_BYTES_PER_S = 300e6


@dataclass(frozen=True)
class Costs:
    """Seconds, each as the run itself took on average.

    ``before_s`` and ``after_s``: the program around the checkpointed loop. ``rest_s``: an iteration without its blocks.
    ``blocks_s``: all blocks of one loop in one iteration, by the name of the loop; empty where nothing is nested.
    """

    before_s: float = 0.0
    after_s: float = 0.0
    rest_s: float = 0.0
    blocks_s: Mapping[str, float] = field(default_factory=dict)
    restore_s: float = _RESTORE_BASE_S

    @property
    def start_s(self) -> float:
        """What every slice pays before its first iteration."""
        return START_S + self.before_s

    @property
    def full_s(self) -> float:
        """An iteration in which nothing is skipped."""
        return self.rest_s + sum(self.blocks_s.values())

    def iteration_s(self, run_blocks: Collection[str] | None, saved: Collection[str]) -> float:
        """An iteration in which blocks are skipped: those of the loops ``saved``, unless they must run."""
        if run_blocks is None:
            return self.full_s
        skipped = [loop for loop in self.blocks_s if loop in saved and loop not in run_blocks]
        spared = sum(max(0.0, self.blocks_s[loop] - self.restore_s) for loop in skipped)
        return self.full_s - spared


def restore_s(size_bytes: float) -> float:
    """Reading and restoring a state of this size."""
    return _RESTORE_BASE_S + size_bytes / _RESTORE_BYTES_PER_S
