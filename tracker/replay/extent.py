"""Which contexts belong to a slice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracker.read.batch import Batch
from tracker.replay.documents import PlannedRun, Slice
from tracker.replay.relogged import Path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Extent:
    """Iterations ``first`` to ``last`` of the checkpointed loop, and what comes before and after that loop.

    Without such a loop it is the whole program.
    """

    loop: str | None = None
    first: int = 0
    last: int | None = None
    before: bool = True
    after: bool = True

    @classmethod
    def of(cls, planned: PlannedRun, own: Slice) -> Extent:
        """The extent of a slice of a run."""
        return cls(planned.loop, own.first, own.last, own.is_first, own.is_last)

    @property
    def from_end(self) -> bool:
        """Whether of what stands outside the loop only the last part is executed: the n-th last value then stands for
        the n-th last one of the run.
        """
        return self.after and not self.before

    @property
    def is_whole_outside(self) -> bool:
        """Whether all that stands outside the loop is executed."""
        return self.loop is None or (self.before and self.after)

    def level(self, path: Path) -> int | None:
        """Where on a path the checkpointed loop stands; ``None``: the path lies outside of it."""
        return path.index(self.loop) if self.loop in path else None

    def rows(self, batch: Batch, path: Path) -> NDArray[np.bool_]:
        """Which rows belong to the slice."""
        import numpy as np

        level = self.level(path)
        if level is None:
            return np.full(len(batch), self.before or self.after or self.loop is None)
        index = batch.contexts.levels[level].index
        found: NDArray[np.bool_] = index >= self.first
        return found if self.last is None else found & (index <= self.last)


def chosen(batch: Batch, path: Path, iterations: Mapping[str, Collection[int]]) -> NDArray[np.bool_]:
    """Which rows lie in the iterations that were asked for."""
    import numpy as np

    found = np.ones(len(batch), bool)
    for loop, level in zip(path, batch.contexts.levels, strict=True):
        if loop in iterations:
            found &= np.isin(level.index, list(iterations[loop]))
    return found
