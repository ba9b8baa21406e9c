"""What the shell offers behind Tab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tracker


def _complete(line: str, cwd: Path) -> str:
    """What the command answers to bash for the line typed so far."""
    environment = {
        "_HINDSIGHT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
        "HINDSIGHT_STORE": str(cwd / "store"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tracker"],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    return done.stdout


def test_commands_and_options(tmp_path: Path) -> None:
    """Commands and options complete."""
    assert _complete("hindsight chec", tmp_path).split() == ["checkpoints", "checkout"]
    assert "--where" in _complete("hindsight runs --wh", tmp_path)


def test_run_ids(store: Path, tmp_path: Path, ids: list[str]) -> None:
    """A run completes by its short id, and by its full one once that was begun."""
    assert set(_complete("hindsight show ", tmp_path).split()) == {run[-8:] for run in ids}
    assert _complete(f"hindsight show {ids[1][-8:-3]}", tmp_path).split() == [ids[1][-8:]]
    assert set(_complete(f"hindsight diff {ids[0]} {ids[0][:9]}", tmp_path).split()) <= set(ids)


def test_names_of_the_latest_run(store: Path, tmp_path: Path) -> None:
    """Names complete that the latest run logged."""
    with tracker.run(store=store, capture=()):
        tracker.log_many({"loss": 1.0, "lost": 2.0, "other": 3.0})

    assert _complete("hindsight dataframe lo", tmp_path).split() == ["loss", "lost"]


def test_no_store_no_noise(tmp_path: Path) -> None:
    """Where there is no store, nothing is offered and nothing is printed."""
    assert _complete("hindsight show ", tmp_path).strip() == ""
