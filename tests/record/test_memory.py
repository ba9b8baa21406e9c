"""Memory: what a run that goes on for long keeps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tracker


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_sealed_journals_are_let_go(tmp_path: Path) -> None:
    """A loop around many journals keeps the one it began in and those in use, not all that lie between."""
    with tracker.run(store=tmp_path / "store", capture=(), journal_bytes=4096, fsync="none"):
        for _ in tracker.loop("epoch", range(100)):
            for step in tracker.loop("step", range(100)):
                tracker.log("loss", float(step))
        tracker.commit()
        mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]

    assert len(mapped) <= 20  # of some 200
