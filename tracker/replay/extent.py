"""Which contexts belong to a slice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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
    """Iterations ``first`` to ``last`` of the checkpointed loop; without such a loop it is the whole program.

    ``outside``: the slice also answers for what is logged outside of that loop. ``to_end``: its process executes the
    program to the end, and so all that stands outside: a process that begins at a checkpoint executes what comes before
    the loop as well. ``begin``: the iteration from which on what it logs can be compared, though others answer for it:
    0 for a process that begins with the program, else ``first``.
    """

    loop: str | None = None
    first: int = 0
    last: int | None = None
    outside: bool = True
    to_end: bool = True
    begin: int = 0

    @classmethod
    def of(cls, planned: PlannedRun, own: Slice, others: Iterable[Slice] = ()) -> Extent:
        """The extent of a slice; one slice of a run alone answers for what stands outside the loop.

        That is the last one, which executes all of it, or the first where none goes to the end.
        """
        has_last = any(each.is_last for each in others if each.run == own.run)
        to_end = own.is_last or planned.loop is None
        begin = 0 if own.checkpoint is None else own.first
        return cls(planned.loop, own.first, own.last, to_end or (own.is_first and not has_last), to_end, begin)

    def level(self, path: Path) -> int | None:
        """Where on a path the checkpointed loop stands; ``None``: the path lies outside of it."""
        return path.index(self.loop) if self.loop in path else None

    def executed(self, batch: Batch, path: Path) -> NDArray[np.bool_]:
        """Which rows of the run may be compared: what is outside, and the iterations up to the last of the slice."""
        return self._rows(batch, path, self.begin)

    def answered(self, batch: Batch, path: Path) -> NDArray[np.bool_]:
        """Which rows the slice answers for."""
        rows = self._rows(batch, path, self.first)
        return rows if self.outside or self.level(path) is not None else ~rows

    def _rows(self, batch: Batch, path: Path, first: int) -> NDArray[np.bool_]:
        import numpy as np

        level = self.level(path)
        if level is None:
            return np.ones(len(batch), bool)
        index = batch.contexts.levels[level].index
        found: NDArray[np.bool_] = index >= first
        return found if self.last is None else found & (index <= self.last)


def chosen(batch: Batch, path: Path, iterations: Mapping[str, Collection[int]]) -> NDArray[np.bool_]:
    """Which rows lie in the iterations that were asked for."""
    import numpy as np

    found = np.ones(len(batch), bool)
    for loop, level in zip(path, batch.contexts.levels, strict=True):
        if loop in iterations:
            found &= np.isin(level.index, list(iterations[loop]))
    return found
