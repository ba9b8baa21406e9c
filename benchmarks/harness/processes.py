"""One measurement is one process with a folder, a time limit and nothing left behind."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness.model import Figures

BENCHMARKS = Path(__file__).resolve().parent.parent
PROJECT = BENCHMARKS.parent
_PR_SET_CHILD_SUBREAPER = 36
_SCRIPT = """\
import sys

sys.path.append({path!r})
from child import main

if __name__ == "__main__":
    main()
"""


class MeasurementFailed(Exception):
    """A measured process ended without figures; the text says why."""


@dataclass(frozen=True)
class Job:
    """A case of a subject in one round, to be run by an interpreter in a folder."""

    case: str
    subject: str
    round: int
    python: Path
    folder: Path
    environment: dict[str, str]
    timeout_s: float


def run_job(job: Job) -> Figures:
    """Run the job in its folder, a git repository with one commit, and return its figures."""
    prepare_folder(job.folder)
    result = job.folder / "result.json"
    result.unlink(missing_ok=True)
    (job.folder / "job.json").write_text(json.dumps({"case": job.case, "subject": job.subject, "round": job.round}))
    log = job.folder / "output.log"
    code = _run([str(job.python), "train.py"], job=job, log=log)
    if not result.exists():
        raise MeasurementFailed(f"{_how_it_ended(code, job)}: {_last_line(log)}")
    figures: Figures = json.loads(result.read_text())
    if "error" in figures:
        raise MeasurementFailed(str(figures["error"]))
    return figures


def prepare_folder(folder: Path) -> None:
    """An own git repository with a script in it: what a tracked project looks like."""
    if (folder / ".git").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(_SCRIPT.format(path=str(BENCHMARKS)))
    (folder / ".gitignore").write_text("*\n!train.py\n!.gitignore\n")
    git = ["git", "-C", str(folder), "-c", "init.defaultBranch=main"]
    subprocess.run([*git, "init", "-q"], check=True)
    for key, value in (("user.name", "Benchmark"), ("user.email", "benchmark@localhost"), ("gc.auto", "0")):
        subprocess.run([*git, "config", key, value], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "A training script"], check=True)


def _run(command: list[str], *, job: Job, log: Path) -> int | None:
    """The exit code, or ``None`` after a time-out."""
    others = _children()
    environment = {**plain_environment(), **job.environment}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=job.folder,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        try:
            return process.wait(job.timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            end_group(process.pid)
            process.wait()
            end_orphans(spare=others)


def plain_environment() -> dict[str, str]:
    """The environment without what changes the interpreter (unbuffered output, no bytecode) or a measured library."""
    prefixes = ("PYTHON", "HINDSIGHT_", "FLOR", "WANDB_", "TRACKIO_", "TENSORBOARD", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {**kept, "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""}


def end_group(pid: int) -> None:
    """Kill what is left of the process group that ``pid`` leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of measured processes' orphans (Linux), so that ``end_orphans`` can find them."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans(*, spare: set[int], patience_s: float = 2.0) -> None:
    """Wait a moment for adopted children to end by themselves, then kill them; children to spare were there before.

    Writer processes of some libraries outlive their parents.
    """
    deadline = time.monotonic() + patience_s
    while children := _children() - spare:
        for pid in children:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)


def _children() -> set[int]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in path.read_text().split()} if path.exists() else set()


def _how_it_ended(code: int | None, job: Job) -> str:
    if code is None:
        return f"no result within {job.timeout_s:.0f} s"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code} without a result"


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"


def remove_folder(folder: Path) -> None:
    """Remove a measured folder; a straggler that still writes must not end the benchmark."""
    shutil.rmtree(folder, ignore_errors=True)
