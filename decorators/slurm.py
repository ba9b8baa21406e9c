"""Slurm: the job that runs this process, as its environment tells it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from tracker.decorators.places import Place

from tracker.record import batch
from tracker.record.identity import RUN_VARIABLE
from tracker.record.replaying import order
from tracker.record.run import Run
from tracker.store.documents import Status

_PATIENCE_S = 10.0
_MEANS_PREEMPTION = {"PREEMPTED", "TIMEOUT", "NODE_FAIL", "REQUEUED", "PENDING"}
_place: tuple[int, Place | None] | None = None  # with the process that it is of


def current_place() -> Place | None:
    """The job step of this process, where no other engine knows better; ``None`` outside of a job and in a replay."""
    global _place
    if _place is None or _place[0] != os.getpid():
        if "SLURM_JOB_ID" not in os.environ or order() is not None:
            return None
        named = RUN_VARIABLE in os.environ  # by its user, who may know better whose process this is
        _place = os.getpid(), None if named else _of_process()
    return _place[1]


def adapt(decorated: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any | None:
    """Nothing is Slurm's own."""
    return None


def status_of(exc: BaseException) -> Status | None:
    """Slurm itself raises nothing."""
    return None


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
            if _is_interrupted(batch.job_of(os.environ)):
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


def _of_process() -> Place:
    found = batch.of_process(os.environ)
    return Place(
        engine="slurm",
        launch_key=found["launch_key"],
        attempt=str(batch.restarts_of(os.environ)),
        details=batch.details_of(os.environ),
        rank=found["rank"],
        ranks=batch.ranks_of(os.environ)[1],
        is_restart=found["is_restart"],
        is_process=True,
    )
