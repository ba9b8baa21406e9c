"""What tests of tracked functions share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store that tracked functions record into."""
    url = str(tmp_path / "store")
    monkeypatch.setenv("HINDSIGHT_STORE", url)
    monkeypatch.setenv("HINDSIGHT_CAPTURE", "")
    return url
