"""Deleting the segments of which nothing is read any more, as writers do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tracker.read.parallel import each
from tracker.store.base import Store
from tracker.store.inspection import inspect
from tracker.upkeep.compact_summary import Counts
from tracker.upkeep.describing import Description
from tracker.upkeep.packing import Place


class _Unread(NamedTuple):
    """A segment that covers others, and that nobody has read yet."""

    run: str
    sources: Sequence[str]
    covered: Sequence[str]


class CoveredSegments:
    """Those of the runs of one batch, until it is published. No answer changes when they go, so readers of the index
    need no note. They go before the batch is seen: the next compaction takes its rows for right, and looks no more.
    """

    def __init__(self, store: Store, counts: Counts) -> None:
        self.store, self.counts = store, counts
        self._unneeded: list[str] = []
        self._unread: list[_Unread] = []

    def note(self, found: Description, places: Sequence[Place]) -> None:
        """Those of a run whose other segments were put into these places. What stands in a pack was read whole."""
        for piece, place in zip(found.pieces, places, strict=True):
            covered = [key for key, whole in found.covered.items() if whole == piece.key]
            if covered and place["table"]:
                self._unneeded += covered
            elif covered:
                self._unread.append(_Unread(piece.key.run, piece.sources, covered))

    def remove(self) -> int:
        """Delete them, where all of what covers them can be read; how many."""
        found = each(self.store, self._where_sound, self._unread, heavy=True)
        unneeded = [*self._unneeded, *(key for covered in found for key in covered)]
        self.store.delete(unneeded)
        self._unneeded, self._unread = [], []
        return len(unneeded)

    def _where_sound(self, unread: _Unread) -> Sequence[str]:
        """All of the segment is read: its footer says nothing about its pages."""
        try:
            findings = [inspect(self.store, self.store.info(key)) for key in unread.sources]
        except FileNotFoundError:  # its run was removed since it was listed
            return ()
        problems = [problem for finding in findings for problem in finding.problems]
        for problem in problems:
            self.counts.damaged(unread.run, f"{problem.key}: {problem.detail}")
        return () if problems else unread.covered
