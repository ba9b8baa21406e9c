"""Stores for the reader's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tracker.store.base import Store
from tracker.store.ids import new_id
from tracker.store.memory import MemoryStore
from tracker.store.open import open_store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A fresh store in a folder, and one in memory, which is read through file objects as a remote one is."""
    if request.param == "local":
        yield open_store(tmp_path / "store")
        return
    name = f"reading-{new_id()}"
    yield open_store(f"memory://{name}")
    memory = MemoryStore(name)
    memory.delete([info.key for info in memory.list()])
