"""Small journals, written by the real recorder, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path

import tracker
from tracker.record.recorder import CLOSED
from tracker.record.run import Run


def journal_of(run: Run) -> Path:
    """The file of the journal that a run writes to at the moment."""
    journal = run.recorder.journal
    assert journal is not CLOSED
    assert journal.path is not None
    return journal.path


def small_journal(folder: Path, *, steps: int = 100) -> bytes:
    """The bytes of a journal with ``steps`` iterations that log a float, a text and nested data; its full pages have
    checksums.
    """
    with tracker.run(store=folder, capture=(), journal_bytes=64 << 10, fsync_interval_s=3600) as run:
        for step in tracker.loop("step", range(steps)):
            tracker.log("loss", step + 0.5)
            tracker.log("note", f"text {step}")
            tracker.log("nested", {"step": step})
        run.recorder.journal.write_checksums()
        return journal_of(run).read_bytes()
