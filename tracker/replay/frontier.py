"""How far a run got that did not finish: what its replay logs beyond that is no answer about the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracker.read.batch import Batch
from tracker.replay.relogged import Logged, Path, times

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Frontier:
    """The context of the last record of a run, and when its replay logged the same (``None``: it has not yet)."""

    path: Path
    indices: tuple[int, ...]
    time: int | None = None

    def beyond(self, batch: Batch, path: Path) -> NDArray[np.bool_]:
        """Which rows of a replay lie behind the frontier.

        Along the loops that both have in common the indices decide; where paths part, the time at which the replay
        logged them does.
        """
        import numpy as np

        found = np.zeros(len(batch), bool)
        tied = np.ones(len(batch), bool)
        common = _common(path, self.path)
        for level in range(common):
            index = batch.contexts.levels[level].index
            found |= tied & (index > self.indices[level])
            tied &= index == self.indices[level]
        if path != self.path and self.time is not None:
            found |= tied & (times(batch) > self.time)
        return found


def _common(one: Path, other: Path) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def frontier_of(old: Logged, new: Logged) -> Frontier | None:
    """Where a run stopped by its own records; ``None`` where it logged nothing."""
    import numpy as np

    ends = [(int(times(batch).max()), path) for path, batch in old.items() if len(batch)]
    if not ends:
        return None
    _, path = max(ends)
    row = int(np.argmax(times(old[path])))
    indices = tuple(int(level.index[row]) for level in old[path].contexts.levels)
    return Frontier(path, indices, _reached(new.get(path), indices))


def _reached(batch: Batch | None, indices: tuple[int, ...]) -> int | None:
    """When the replay logged in this context, for the last time."""
    import numpy as np

    if batch is None or not len(batch):
        return None
    same = np.ones(len(batch), bool)
    for level, index in zip(batch.contexts.levels, indices, strict=True):
        same &= level.index == index
    return int(times(batch)[same].max()) if same.any() else None
