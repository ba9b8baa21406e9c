"""The flow ``hindsight_compact``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import tracker

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
