"""A store with a few runs, and the command as a person starts it."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tracker
from tests.cli.calling import Call, Ended, Start, Started
from tracker.cli.main import main


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the machine, a spool of one's own, UTC, and a width that does not depend on the terminal."""
    for name in [name for name in os.environ if name.startswith(("HINDSIGHT_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HINDSIGHT_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture
def hindsight(capfd: pytest.CaptureFixture[str]) -> Call:
    """The command in this process: the same code, without the time that starting Python takes."""

    def call(*words: object) -> Ended:
        capfd.readouterr()
        code = main([str(word) for word in words])
        written = capfd.readouterr()
        return Ended(code, written.out, written.err)

    return call


@pytest.fixture
def start() -> Start:
    """The command in a process of its own."""

    def call(*words: object, cwd: Path | None = None, **settings: Any) -> Started:
        command = [sys.executable, "-m", "tracker", *(str(word) for word in words)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, **settings)

    return call


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three runs of one project: two finished that differ in ``lr``, and one that failed."""
    folder = tmp_path / "store"
    for lr, name in ((0.01, "slow"), (0.1, None)):
        with tracker.run(name, project="digits", store=folder, capture=()):
            _train(lr)
    with (
        contextlib.suppress(ValueError),
        tracker.run("broken", project="digits", store=folder, capture=(), tags=["night"]),
    ):
        tracker.log("loss", math.nan)
        raise ValueError("no data left")
    return folder


def _train(lr: float) -> None:
    scope = {"lr": lr, "epochs": 2}
    for name, value in scope.items():
        tracker.arg(name, value)
    for epoch in tracker.loop("epoch", range(2)):
        for step in tracker.loop("step", range(3)):
            tracker.log("loss", lr * (3 * epoch + step))
        tracker.log("accuracy", 0.5 + epoch / 4)
    tracker.log("best", 0.75)
    tracker.log("limit", -math.inf)


@pytest.fixture
def ids(store: Path) -> list[str]:
    """The full ids of the store's runs, oldest first."""
    return sorted(folder.name for folder in (store / "runs").iterdir())
