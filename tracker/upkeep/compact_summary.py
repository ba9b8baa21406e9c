"""What a compaction did, and how far it is while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CompactProgress:
    """How far a compaction is: runs that were read, of how many, and what it does."""

    step: str
    done: int = 0
    total: int = 0


OnCompactProgress = Callable[[CompactProgress], None]


@dataclass
class CompactSummary:
    """The result of a compaction."""

    store: str
    dry_run: bool = False
    runs: int = 0  # in the store
    read: int = 0  # runs that were read, because they are new, changed or go on
    indexed: int = 0  # runs that the index tells now and did not before, or told otherwise
    open: int = 0  # runs that cannot be told whole; readers read them themselves
    without_end: int = 0  # of these: no sign of life and no end, or a journal that waits; the others go on
    unreadable: int = 0  # of these: documents are damaged
    gone: int = 0  # rows of runs that were removed
    merged_batches: int = 0
    covered: int = 0  # segments that were deleted, because longer ones hold all of theirs
    written: int = 0  # keys
    written_bytes: int = 0
    removed: int = 0  # keys that were replaced, and markers of changes
    problems: dict[str, str] = field(default_factory=dict)
    duration_s: float = 0.0


@dataclass
class Counts:
    """Counts keys and bytes as they are written."""

    summary: CompactSummary

    def put(self, size_bytes: int) -> None:
        """A key of the index was written."""
        self.summary.written += 1
        self.summary.written_bytes += size_bytes

    def damaged(self, run: str, why: object) -> None:
        """Something of a run cannot be read; what was told first stays."""
        self.summary.problems.setdefault(run, str(why))
