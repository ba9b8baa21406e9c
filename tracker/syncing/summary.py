"""What a synchronisation did, and how far it is while it runs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tracker.store import keys


@dataclass(frozen=True)
class Progress:
    """How far a synchronisation is: runs that were looked at, keys and bytes that arrived, what comes next."""

    runs: int = 0
    runs_total: int = 0
    keys: int = 0
    keys_total: int = 0
    size_bytes: int = 0
    total_bytes: int = 0


OnProgress = Callable[[Progress], None]


@dataclass
class Summary:
    """The result of a synchronisation. ``complete``: all that the source showed is in the target."""

    source: str
    target: str
    dry_run: bool = False
    runs: int = 0  # looked at
    changed: list[str] = field(default_factory=list)  # runs of which something was brought over
    live: list[str] = field(default_factory=list)  # runs that were still going; the next time brings the rest
    counts: dict[str, int] = field(default_factory=dict)  # category -> keys brought over
    sizes_bytes: dict[str, int] = field(default_factory=dict)  # category -> bytes brought over
    removed: int = 0  # segments of the target that longer ones replaced
    deleted_runs: list[str] = field(default_factory=list)  # from the source, because the target has them
    kept_runs: dict[str, str] = field(default_factory=dict)  # not deleted from the source, and why
    left_out: dict[str, str] = field(default_factory=dict)  # keys that are not ours to copy, and why
    problems: dict[str, str] = field(default_factory=dict)  # what the source lacks or has damaged
    duration_s: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether nothing had to be held back."""
        return not self.problems

    @property
    def keys(self) -> int:
        return sum(self.counts.values())

    @property
    def size_bytes(self) -> int:
        return sum(self.sizes_bytes.values())


class Tally:
    """Counts what happens, from several threads, and tells it."""

    def __init__(self, summary: Summary, on_progress: OnProgress | None) -> None:
        self.summary, self._on_progress = summary, on_progress
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._totals = Counter[str]()
        self._changed: dict[str, None] = {}

    def expect(self, **more: int) -> None:
        """There is more to come: ``runs``, ``keys`` or ``size_bytes``."""
        with self._lock:
            self._totals.update(more)
        self.tell()

    def brought(self, key: str, category: str, size_bytes: int) -> None:
        """A key arrived."""
        with self._lock:
            if key.startswith(keys.RUNS):
                self._changed[key.split("/")[1]] = None
            counts, sizes = self.summary.counts, self.summary.sizes_bytes
            counts[category] = counts.get(category, 0) + 1
            sizes[category] = sizes.get(category, 0) + size_bytes
        self.tell()

    def looked_at(self, runs: int = 1) -> None:
        """Runs are done."""
        with self._lock:
            self.summary.runs += runs
        self.tell()

    def problem(self, key: str, text: str) -> None:
        """Something of the source cannot be brought over."""
        with self._lock:
            self.summary.problems[key] = text

    def tell(self) -> None:
        """Report how far it is."""
        if self._on_progress is not None:
            done, total = self.summary, self._totals
            self._on_progress(
                Progress(
                    done.runs,
                    max(total["runs"], done.runs),
                    done.keys,
                    max(total["keys"], done.keys),
                    done.size_bytes,
                    max(total["size_bytes"], done.size_bytes),
                )
            )

    def end(self) -> Summary:
        """The summary, with the time it took."""
        self.summary.duration_s = time.monotonic() - self._began
        self.summary.changed = sorted(self._changed)
        return self.summary
