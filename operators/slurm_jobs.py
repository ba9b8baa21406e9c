"""The Slurm job of a task instance: submitted once, found again by whoever asks, told once how it ended."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec
from tracker.decorators.places import Place

from tracker.errors import MissingExtra, Unavailable
from tracker.secrets import mask_text
from tracker.store import durable

if TYPE_CHECKING:
    from tracker.operators.commands import Work

_ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
_ENDED |= {"REVOKED", "SPECIAL_EXIT", "TIMEOUT", "GONE"}
_GRACE_S = 15.0  # for a result file to be seen over NFS after its job has ended
_COMMAND_S = 60.0
_MOST_LEAVING_S = 900.0  # from the cancellation of a job until it is gone, which its signals and its epilog take
_LEAVING_POLL_S = 1.0
_SUBMITTED = "_submitted.pkl"  # submitit's file of a job
_TOLD = ".told"  # ours
_TAIL_CHARS = 4000


class Ending(msgspec.Struct, frozen=True):
    """How a job ended."""

    ok: bool
    value: Any = None  # what its function returned
    reason: str = ""


@dataclass
class SlurmTask:
    """The jobs of one task instance, with their files in a folder that every node sees.

    What is known stands in that folder and in Slurm itself, so a worker that was killed leaves nothing behind that
    another one does not find: submitit keeps there what it has submitted, and an empty file says of a job that Airflow
    knows how it ended, or does not want it any more.
    """

    folder: Path
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    _gone_since: float | None = None

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[str, bool]:
        """The id of the job that does this, and whether it is new: one whose end nobody was told of is taken up.

        Nothing is submitted while another job of the task instance is at work.
        """
        left = self._left()
        if left is not None:
            return left, False
        self._empty_queue()
        return self._submit(function, args, kwargs), True

    def ending(self, job: str, *, grace_s: float = _GRACE_S) -> Ending | None:
        """How a job ended; ``None`` while it waits, is at work or is put into the queue again, or nobody knows."""
        found = self._result(job)
        if found is not None:
            return found
        state = self._over(job, grace_s)
        if state is None:
            return None
        return self._result(job) or Ending(ok=False, reason=f"it ended without a result, Slurm says {state}")

    def has_ended(self, job: str) -> bool:
        """Whether ``ending`` will tell how, without reading what the job's function returned."""
        return self.has_result(job) or self._over(job, _GRACE_S) is not None

    def has_result(self, job: str) -> bool:
        """Whether the job's function has returned or raised."""
        return self._result_path(job).exists()

    def _over(self, job: str, grace_s: float) -> str | None:
        """Slurm's word for the end of a job, some time after which a result would have been seen."""
        state = state_of(job)
        if state not in _ENDED:
            self._gone_since = None
            return None
        if self._gone_since is None:
            self._gone_since = time.monotonic()
        if state != "CANCELLED" and time.monotonic() - self._gone_since < grace_s:
            return None
        return state

    def tell(self, job: str) -> None:
        """Keep that Airflow knows how this job ended, or does not want to: another try is another job."""
        if self.folder.is_dir():
            durable.write(self.folder / f"{job}{_TOLD}", b"")

    def is_told(self, job: str) -> bool:
        """Whether somebody has said so."""
        return (self.folder / f"{job}{_TOLD}").exists()

    def close(self, job: str, *, ok: bool) -> None:
        """Airflow knows how the job ended. What was submitted may hold options of the store: it goes with a success."""
        if ok:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.tell(job)

    def cancel(self, job: str) -> None:
        """End the job, which is not taken up again."""
        self.tell(job)
        _slurm("scancel", job)

    def cancel_all(self) -> None:
        """End whatever has been submitted, also what nobody was told the id of."""
        for job in self._queued():
            self.cancel(job)

    def output(self, job: str) -> str:
        """The end of what the job wrote."""
        from submitit.core.utils import JobPaths

        paths = JobPaths(self.folder, job_id=job, task_id=0)
        found = [path.read_text(errors="replace") for path in (paths.stdout, paths.stderr) if path.exists()]
        return mask_text("\n".join(found)[-_TAIL_CHARS:])

    def _left(self) -> str | None:
        """The last job that was submitted whose end nobody was told of, also when it has ended meanwhile."""
        submitted = {path.name.removesuffix(_SUBMITTED) for path in self.folder.glob(f"*{_SUBMITTED}")}
        return max((job for job in submitted if not self.is_told(job)), key=int, default=None)

    def _queued(self) -> list[str]:
        return (_slurm("squeue", "-h", "--name", self.name, "-o", "%A") or "").split()

    def _empty_queue(self) -> None:
        """Wait until no job of the task instance is there any more: those of tries before have to end.

        One whose worker was killed before it had its function would wait for that in vain.
        """
        deadline = time.monotonic() + _MOST_LEAVING_S
        cancelled: set[str] = set()
        while queued := self._queued():
            for job in set(queued) - cancelled:
                _slurm("scancel", job)
                cancelled.add(job)
            if time.monotonic() > deadline:
                raise Unavailable(f"job {queued[0]} of a try before this one was cancelled, and does not end in Slurm")
            time.sleep(_LEAVING_POLL_S)

    def _submit(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        try:
            import submitit
        except ImportError as exc:
            raise MissingExtra("jobs of Slurm need submitit: pip install 'hindsight-tracker[slurm]'") from exc

        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is submitted may hold options of the store
        executor = submitit.SlurmExecutor(self.folder, python=None)
        executor.update_parameters(**{"time": 60, "use_srun": False, **self.parameters, "job_name": self.name})
        try:
            return str(executor.submit(function, *args, **kwargs).job_id)
        except (submitit.core.utils.FailedJobError, OSError) as exc:
            raise Unavailable(f"Slurm does not take the job {self.name}: {mask_text(str(exc))}") from exc

    def _result(self, job: str) -> Ending | None:
        """What submitit's file says. It is unpickled: the folder is one that only this user can write to."""
        from submitit.core.utils import pickle_load

        try:
            how, what = pickle_load(self._result_path(job))
        except (OSError, EOFError):  # there is none, or NFS has not brought all of it
            return None
        except Exception as exc:  # noqa: BLE001  a class that cannot be imported here, for one
            return Ending(ok=False, reason=mask_text(f"its result cannot be read here: {type(exc).__name__}: {exc}"))
        if how == "success":
            return Ending(ok=True, value=what)
        return Ending(ok=False, reason=mask_text(str(what).strip().splitlines()[-1]))

    def _result_path(self, job: str) -> Path:
        from submitit.core.utils import JobPaths

        return Path(JobPaths(self.folder, job_id=job, task_id=0).result_pickle)


def state_of(job: str) -> str | None:
    """A job's state in Slurm's words, ``GONE`` for one that it has forgotten; ``None`` where it does not answer."""
    command = ["squeue", "-h", "-t", "all", "-j", job, "-o", "%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return "GONE" if "Invalid job id" in done.stderr else None
    return done.stdout.strip() or "GONE"


def _slurm(*words: str) -> str | None:
    """What a command prints; ``Unavailable`` where Slurm does not answer."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_COMMAND_S)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"{words[0]} does not work here: {exc}") from exc
    if done.returncode and "Invalid job id" not in done.stderr:
        raise Unavailable(f"{' '.join(words)}: {mask_text(done.stderr.strip())}")
    return done.stdout


def portable(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which travels by value where a job cannot import its module, as it cannot a DAG file."""
    module = sys.modules.get(function.__module__)
    package = function.__module__.partition(".")[0]
    if module is not None and package != "__main__" and importlib.machinery.PathFinder.find_spec(package) is None:
        importlib.import_module("cloudpickle").register_pickle_by_value(module)  # which submitit uses
    return function


def run_in_job(work: Work, place: Place, store: str, storage_options: dict[str, Any]) -> tuple[str, int]:
    """What a job does for a command or script: its run, and its exit code.

    Where Slurm ends the job it tells the command so, and leaves no result: the job may be put into the queue again.
    """
    from tracker.operators.commands import Child

    child = Child(work, place, store=store, storage_options=storage_options)

    def stop(number: int, frame: FrameType | None) -> None:
        child.stopped_as = "preempted" if _is_interrupted() else "killed"
        child.interrupt()

    signal.signal(signal.SIGTERM, stop)
    code = child.execute(lambda line: print(line, flush=True))
    if child.stopped:
        raise SystemExit(128 + signal.SIGTERM)
    return child.run, code


def _is_interrupted() -> bool:
    """Whether Slurm itself ends this job, and nobody has cancelled it."""
    return state_of(os.environ["SLURM_JOB_ID"]) not in (None, "CANCELLED", "GONE", "COMPLETING", "TIMEOUT")
