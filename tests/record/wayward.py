"""A store that goes away and comes back, and runs that record into it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from tracker.config import Settings
from tracker.errors import StoreUnavailable
from tracker.record.context import set_scope
from tracker.record.identity import Identity
from tracker.record.recorder import Recorder
from tracker.record.run import Run
from tracker.store.base import Store
from tracker.store.ids import new_id
from tracker.store.memory import MemoryStore
from tracker.store.open import open_store


class Wayward(MemoryStore):
    """A store in memory that takes no bytes while it is away, and remembers what it was asked.

    It takes nothing below ``refused`` either.
    """

    def __init__(self) -> None:
        name = f"wayward-{new_id()}"
        open_store(f"memory://{name}")
        super().__init__(name)
        self.away = False
        self.refused: str | tuple[str, ...] = "nothing"
        self.asked = threading.Event()

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write a key, or be away."""
        self.asked.set()
        self._check(key)
        super().put(key, data)

    def create(self, key: str, data: bytes | memoryview) -> None:
        """Write a new key, or be away."""
        self._check(key)
        super().create(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove keys, or be away."""
        self._check()
        super().delete(keys)

    def _check(self, key: str = "") -> None:
        if self.away or key.startswith(self.refused):
            raise StoreUnavailable("the store is away")


def begin(store: Store, folder: Path, **settings: object) -> Run:
    """A run with a remote store, into which this thread logs from now on."""
    options = {"spool": str(folder / "spool"), "flush_interval_s": 3600.0, "journal_bytes": 4096, "capture": ()}
    run = Run(
        store,
        Settings(**options | settings),  # type: ignore[arg-type]
        Identity(project="p", script="s"),
        Recorder(),
        root=folder,
    )
    set_scope(run.recorder.root)
    return run
