"""Slurm: the job that runs this process, as its environment tells it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from hashlib import blake2b
from types import FrameType
from typing import Any

from tracker.decorators.places import Place

from tracker.record.replaying import order
from tracker.record.run import Run
from tracker.store.documents import Status

_PATIENCE_S = 10.0
_MEANS_PREEMPTION = {"PREEMPTED", "TIMEOUT", "NODE_FAIL", "REQUEUED", "PENDING"}
_DETAILS = {
    "job": "SLURM_JOB_ID",
    "array_job": "SLURM_ARRAY_JOB_ID",
    "array_task": "SLURM_ARRAY_TASK_ID",
    "step": "SLURM_STEP_ID",
    "name": "SLURM_JOB_NAME",
    "cluster": "SLURM_CLUSTER_NAME",
    "partition": "SLURM_JOB_PARTITION",
    "nodes": "SLURM_JOB_NODELIST",
    "rank": "SLURM_PROCID",
    "ranks": "SLURM_NTASKS",
    "restarts": "SLURM_RESTART_COUNT",
}
_NUMBERS = {"array_task", "rank", "ranks", "restarts"}

_place: tuple[int, Place] | None = None  # with the process that it is of


def current_place() -> Place | None:
    """The job step of this process, where no other engine knows better; ``None`` outside of a job and in a replay."""
    global _place
    if _place is None or _place[0] != os.getpid():
        if "SLURM_JOB_ID" not in os.environ or order() is not None:
            return None
        _place = os.getpid(), _of_process(os.environ)
    return _place[1]


def adapt(decorated: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any | None:
    """Nothing is Slurm's own."""
    return None


def status_of(exc: BaseException) -> Status | None:
    """Slurm itself raises nothing."""
    return None


def details_of(environ: Mapping[str, str]) -> dict[str, Any]:
    """What Slurm says of a job step in its environment."""
    found: dict[str, Any] = {"engine": "slurm"}
    for name, variable in _DETAILS.items():
        text = environ.get(variable)
        if text:
            found[name] = int(text) if name in _NUMBERS and text.isdecimal() else text
    return found


def job_of(environ: Mapping[str, str]) -> str:
    """The id of a job as Slurm's commands take it: ``17``, or ``17_3`` for a task of an array."""
    array = environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{environ['SLURM_ARRAY_TASK_ID']}" if array else environ["SLURM_JOB_ID"]


def restarts_of(environ: Mapping[str, str]) -> int:
    """How often Slurm has put this job into its queue again."""
    text = environ.get("SLURM_RESTART_COUNT", "")
    return int(text) if text.isdecimal() else 0


def ranks_of(environ: Mapping[str, str]) -> tuple[int, int]:
    """The number of this process among the tasks of its step, and how many there are. Only ``srun`` starts several."""
    if "SLURM_STEP_ID" not in environ:
        return 0, 1
    rank, ranks = environ.get("SLURM_PROCID", ""), environ.get("SLURM_STEP_NUM_TASKS", "")
    return (int(rank), int(ranks)) if rank.isdecimal() and ranks.isdecimal() else (0, 1)


def watch_signals(run: Run) -> None:
    """Learn that Slurm ends the job of this run, also where the process does not live to tell it.

    The handler that is installed for SIGTERM is called as before, from ours. Where there is none, nothing is changed.
    """
    previous = signal.getsignal(signal.SIGTERM)
    if not callable(previous) or threading.current_thread() is not threading.main_thread():
        return
    watch = _Watch(run, previous)
    signal.signal(signal.SIGTERM, watch.handle)
    run.ticks.append(watch.tick)
    run.on_finish.append(watch.stop)


class _Watch:
    """A handler in front of another one."""

    def __init__(self, run: Run, previous: Callable[[int, FrameType | None], Any]) -> None:
        self.run, self.previous = run, previous
        self.signalled = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.signalled = True
        self.previous(number, frame)

    def tick(self) -> None:
        """In the background: whoever cancels a job sends the same signal, so Slurm is asked."""
        if self.signalled:
            self.signalled = False
            if _is_interrupted(job_of(os.environ)):
                self.run.note_interruption()

    def stop(self) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) == self.handle:
            signal.signal(signal.SIGTERM, self.previous)


def _is_interrupted(job: str) -> bool:
    command = ["scontrol", "show", "job", "-o", job]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    told = dict(word.partition("=")[::2] for word in text.split())
    return told.get("JobState") in _MEANS_PREEMPTION or told.get("PreemptTime", "None") not in ("None", "Unknown")


def _of_process(environ: Mapping[str, str]) -> Place:
    rank, ranks = ranks_of(environ)
    restarts = restarts_of(environ)
    return Place(
        engine="slurm",
        launch_key=process_key(environ),
        attempt=str(restarts),
        details=details_of(environ),
        rank=rank,
        ranks=ranks,
        is_restart=restarts > 0,
        is_process=True,
    )


def process_key(environ: Mapping[str, str]) -> str:
    """What every try of this process has in common: the job, its step, and the command line."""
    words = "\0".join([os.getcwd(), *sys.argv, *(environ.get(name, "") for name in ("HINDSIGHT_KWARGS",))])
    program = blake2b(words.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    step = environ.get("SLURM_STEP_ID", "batch")
    return f"slurm/{environ.get('SLURM_CLUSTER_NAME', '')}/{job_of(environ)}/{step}/{program}"
