"""What tests of synchronisation share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.syncing.stores import project_store


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of earlier synchronisations is each test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with code, checkpoints and a replay; not to be changed."""
    return project_store(tmp_path_factory.mktemp("project"))
