"""What tracked functions have recorded."""

from __future__ import annotations

from tracker.read.catalog import RunView, scan
from tracker.store.open import open_store


def runs_of(store: str) -> list[RunView]:
    """The runs of a store, oldest first."""
    return scan(open_store(store, create=False))
