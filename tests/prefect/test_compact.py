"""The flow ``hindsight_compact``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import tracker
from tracker.read.indexed import scan_index
from tracker.store import keys
from tracker.store.open import open_store

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("prefect") is None, reason="Prefect has an environment of its own"),
    pytest.mark.usefixtures("server"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_a_store_is_compacted(tmp_path: Path) -> None:
    """A run of the flow in this process."""
    from tracker.decorators.prefect_upkeep import hindsight_compact

    with tracker.run(store=tmp_path / "store", capture=()):
        tracker.log("loss", 0.5)

    assert hindsight_compact(store=str(tmp_path / "store"))["indexed"] == 1
    assert list((tmp_path / "store" / "index" / "runs").iterdir())


def test_damage_is_not_tried_again(tmp_path: Path) -> None:
    """A retry would not mend it, and be green where a run with a damaged segment was taken in."""
    from tracker.decorators.prefect_upkeep import hindsight_compact

    store = open_store(tmp_path / "store")
    with tracker.run(store=store.url, capture=()) as run:
        tracker.log("loss", 0.5)
    (segment,) = store.list(keys.data_folder(run.id))
    store.put(segment.key, b"PAR1 and nothing")

    state = hindsight_compact(store=store.url, return_state=True)

    assert state.is_failed()
    assert "1 runs could not be read" in str(state.message)
    assert len(scan_index(store) or []) == 1
