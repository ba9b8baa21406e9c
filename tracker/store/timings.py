"""How long the iterations of each loop took, from the frames of a journal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracker.store import frames
from tracker.store.contexts import Contexts
from tracker.store.documents import LoopTiming
from tracker.store.journals import Frames
from tracker.store.keys import path_part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass
class Timing:
    """Sums that add up over journals; ``measured`` iterations have a known end."""

    iterations: int = 0
    measured: int = 0
    total_s: float = 0.0
    squares_s2: float = 0.0

    def add(self, other: Timing) -> None:
        """Take in the iterations of another journal or shard."""
        self.iterations += other.iterations
        self.measured += other.measured
        self.total_s += other.total_s
        self.squares_s2 += other.squares_s2

    def document(self) -> LoopTiming:
        """The figures that are kept: total, mean and standard deviation in seconds."""
        mean = self.total_s / self.measured if self.measured else 0.0
        variance = self.squares_s2 / self.measured - mean * mean if self.measured else 0.0
        return LoopTiming(
            iterations=self.iterations, total_s=self.total_s, mean_s=mean, std_s=math.sqrt(max(variance, 0.0))
        )


def measure(journal: Frames, contexts: Contexts, start: int, stop: int) -> dict[str, Timing]:
    """Timings by loop path, of the iterations that began in slots ``start`` to ``stop``.

    An iteration ends where the next one of the same loop begins, or at the loop's end. One that began in an earlier
    journal is counted there and measured where it ends. The last one before a ``break`` has no known end.
    """
    import numpy as np

    kind = journal.kind[start:stop]
    slots = ((kind == frames.ITERATION) | (kind == frames.LOOP_END)).nonzero()[0] + start
    if not len(slots):
        return {}
    is_end = journal.kind[slots] == frames.LOOP_END
    parents = (journal.context[slots] & np.uint64(frames.NUMBER_MASK)).astype(np.int64)
    loops = (journal.tag[slots] & np.uint64(frames.NUMBER_MASK)).astype(np.int64)
    repeated = (journal.tag[slots] & np.uint64(frames.REPEATED)) != 0
    order = np.lexsort((slots, loops, parents))
    time = journal.time[slots][order]
    same = (loops[order][1:] == loops[order][:-1]) & (parents[order][1:] == parents[order][:-1])
    begins = ~is_end[order] & ~repeated[order]
    measured = np.zeros(len(order), bool)
    measured[:-1] = same & ~is_end[order][:-1]
    seconds = np.zeros(len(order))
    seconds[:-1] = (time[1:] - time[:-1]) / 1e9
    nodes = np.where(is_end, 0, contexts.of_slot[slots])[order]
    return _group(contexts, nodes, begins, measured, seconds)


def _group(
    contexts: Contexts,
    nodes: NDArray[np.int32],
    begins: NDArray[np.bool_],
    measured: NDArray[np.bool_],
    seconds: NDArray[np.float64],
) -> dict[str, Timing]:
    import numpy as np

    found: dict[str, Timing] = {}
    paths = contexts.path[nodes]
    for path in np.unique(paths[begins | measured]).tolist():
        mine = paths == path
        known = seconds[mine & measured]
        found[path_part(contexts.paths[path])] = Timing(
            int((mine & begins).sum()), len(known), float(known.sum()), float((known * known).sum())
        )
    return found
