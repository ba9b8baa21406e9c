"""A snapshot of a dirty work tree of 5,000 files, beside what ``git status`` takes for the same tree."""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from harness.model import Case, Figures, Row, Subject

_FILES = 5_000
_FOLDERS = 100
_EDITED = 50
_UNTRACKED = 20
_TIMES = 7


def measure(subject: Subject, round_number: int) -> Figures:
    """Build the repository, then edit one file more before each pair of a status and a snapshot."""
    from tracker.code.snapshot import start_snapshot, take_snapshot
    from tracker.store.open import open_store

    root = build_repository(Path("repository").resolve())
    store = open_store(str(Path("store").resolve()))
    first = _seconds(lambda: take_snapshot(root, store))
    spent: dict[str, list[float]] = {"status": [], "snapshot": [], "caller": [], "captured": []}
    for i in range(_TIMES):
        _edit(root, i)
        spent["status"].append(_seconds(lambda: _git(root, "--no-optional-locks", "status", "--porcelain")))
        spent["snapshot"].append(_seconds(lambda: take_snapshot(root, store)))
        _edit(root, i)
        begin = time.perf_counter()
        pending = start_snapshot(root, store)
        spent["caller"].append(time.perf_counter() - begin)
        pending.captured.wait()
        spent["captured"].append(time.perf_counter() - begin)
        if problem := pending.result(timeout_s=60).problem:
            raise RuntimeError(problem)
    figures = {key: statistics.median(seconds) * 1e3 for key, seconds in spent.items()}
    return {**figures, "ratio": figures["snapshot"] / figures["status"], "first": first * 1e3}


def build_repository(root: Path) -> Path:
    """5,000 committed files of a few KiB in 100 folders, 50 of them edited, and 20 untracked ones."""
    rng = random.Random(1)
    for i in range(_FILES):
        path = root / f"package_{i % _FOLDERS:03d}" / f"module_{i:04d}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"value_{rng.getrandbits(32)} = {rng.random()}\n" for _ in range(rng.randint(10, 80))))
    _git(root, "init", "-q")
    _git(root, "add", "-A")
    _git(root, "-c", "user.name=Benchmark", "-c", "user.email=benchmark@localhost", "commit", "-qm", "All of it")
    time.sleep(1.1)  # files as old as the index are read again by git, which is not what users see
    _git(root, "status", "--porcelain")
    for i in range(_EDITED):
        _edit(root, i * (_FILES // _EDITED))
    for i in range(_UNTRACKED):
        (root / f"package_{i:03d}" / "notes.txt").write_text(f"note {i}\n")
    return root


def _edit(root: Path, i: int) -> None:
    path = root / f"package_{i % _FOLDERS:03d}" / f"module_{i:04d}.py"
    with path.open("a") as file:
        file.write(f"edited = {time.time_ns()}\n")


def _git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, stdout=subprocess.DEVNULL)


def _seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


CASE = Case(
    name="snapshot",
    rows=(
        Row("snapshot", "snapshot of 5,000 files, one more edited since the last", "ms", budget=60.0),
        Row("status", "… git status of the same tree", "ms"),
        Row("ratio", "… snapshot, in times of git status", ""),
        Row("captured", "… until the files may be edited again", "ms"),
        Row("caller", "… what the caller waits for", "ms"),
        Row("first", "… the first one, with everything to store", "ms"),
    ),
    subjects=("hindsight",),
    measure=measure,
)
