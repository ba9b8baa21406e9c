"""The executor ``slurm``: slices are tasks of an array that submitit submits, followed by results in the store."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from tracker.code.project import project_root
from tracker.config import Settings, load_settings
from tracker.errors import BadSetting, DamagedDocument, MissingExtra, Unavailable
from tracker.record.spool import spool_root
from tracker.replay.documents import Plan, SliceResult
from tracker.replay.executors import OnResult
from tracker.replay.planning import read_plan
from tracker.replay.slices import DONE, read_result, run_slice
from tracker.secrets import mask_text
from tracker.store import durable, keys
from tracker.store.base import Store
from tracker.store.documents import encode
from tracker.store.ids import is_id
from tracker.store.open import open_store

MOST_TRIES = 3  # of one slice whose job ends without a result
_ARRAY_TASKS = 1000  # Slurm's own limit, where nobody has raised it
_POLL_S = 0.5  # between two looks at the results, first
_MOST_POLL_S = {True: 1.0, False: 5.0}  # and at last, in a store on this machine, and on another
_QUEUE_EVERY_S = 2.0
_GRACE_S = 15.0  # for a result file to be seen over NFS after its job has ended
_MOST_AWAY_S = 900.0  # that a store or Slurm may not answer; the jobs themselves go on meanwhile
_COMMAND_S = 60.0
_LEAST_MINUTES = 60
_TAIL_CHARS = 4000
_ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
_ENDED |= {"REVOKED", "SPECIAL_EXIT", "TIMEOUT"}
_OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")
_GONE = "GONE"  # Slurm has forgotten the job


def execute_on_slurm(
    store: Store,
    plan: Plan,
    numbers: Iterable[int],
    *,
    on_result: OnResult,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Execute slices as tasks of a Slurm array, ``plan.workers`` at a time.

    Partition, time and the like come from the setting ``slurm``. A slice whose job ends without a result (time limit,
    lost node, kill) is submitted again, three times in all, and is told as failed after that; so is one whose job a
    person cancelled. When this process ends early, the jobs go on, and the same replay asked again follows them.
    """
    if importlib.util.find_spec("submitit") is None:
        raise MissingExtra("the executor slurm needs submitit: pip install 'hindsight-tracker[slurm]'")
    if store.url.startswith("memory:"):
        raise BadSetting(f"jobs cannot reach {store.url}, which is memory of this process: use a folder or S3")
    settings = load_settings(project_root())
    options = settings.storage_options if storage_options is None else dict(storage_options)
    queue = _Queue(store.url, plan, dict(settings.slurm), options, _folder(settings, plan))
    left = sorted(set(numbers))
    for first in range(0, len(left), _ARRAY_TASKS):
        _Following(store, plan, queue, on_result, left[first : first + _ARRAY_TASKS]).run()
    if not queue.has_failed:
        shutil.rmtree(queue.folder, ignore_errors=True)


def run_in_job(url: str, storage_options: Mapping[str, Any], replay: str, number: int) -> None:
    """What a job does: one slice, whose result it leaves in the store.

    Where Slurm ends the job it ends the program, too, which then has not failed: no result is left.
    """
    previous = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        if callable(previous):
            previous(number, frame)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    store = open_store(url, storage_options=dict(storage_options), create=False)
    run_slice(store, read_plan(store, replay), number, storage_options=storage_options)


def _folder(settings: Settings, plan: Plan) -> Path:
    """Where the jobs of a replay have their files; it must be seen from all nodes."""
    if not is_id(plan.replay):
        raise DamagedDocument(f"a plan names its replay {plan.replay!r}, which is no id")
    given = settings.slurm.get("folder")
    home = Path(given).expanduser() if given else spool_root(settings).parent / "slurm"
    folder = home / plan.replay
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is submitted may hold options of the store
    return folder


@dataclass
class _Queue:
    """Submits slices, and knows how their jobs stand."""

    url: str
    plan: Plan
    parameters: dict[str, Any]
    storage_options: dict[str, Any]
    folder: Path
    has_failed: bool = False

    @property
    def _note(self) -> Path:
        return self.folder / "jobs.json"

    def known(self) -> dict[int, str]:
        """The last job of every slice that was submitted, also by an earlier process."""
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=dict[int, str])
        except (OSError, msgspec.MsgspecError):
            return {}

    def submit(self, numbers: list[int]) -> dict[int, str]:
        """The jobs of these slices, which are put into one array."""
        import submitit

        executor = submitit.SlurmExecutor(self.folder, python=None)
        executor.update_parameters(**self._parameters())
        rows = [[value] * len(numbers) for value in (self.url, self.storage_options, self.plan.replay)]
        try:
            with _outside_of_jobs():
                jobs = executor.map_array(run_in_job, *rows, numbers)
        except (submitit.core.utils.FailedJobError, OSError) as exc:
            raise Unavailable(f"Slurm does not take the jobs of this replay: {mask_text(str(exc))}") from exc
        found = {number: str(job.job_id) for number, job in zip(numbers, jobs, strict=True)}
        durable.write(self._note, msgspec.json.encode(self.known() | found))
        return found

    def _parameters(self) -> dict[str, Any]:
        given = {key: value for key, value in self.parameters.items() if key != "folder"}
        longest_s = max((piece.estimate_s for piece in self.plan.slices), default=0.0)
        limit_s = self.plan.timeout_s + 300 if self.plan.timeout_s else 10 * longest_s
        own = {
            "job_name": f"hindsight-{self.plan.replay[-8:]}",
            "time": max(_LEAST_MINUTES, math.ceil(limit_s / 60)),
            "array_parallelism": max(1, self.plan.workers),
            "use_srun": False,
        }
        return own | given

    def states(self, jobs: Iterable[str]) -> dict[str, str]:
        """The states of jobs in Slurm's words; nothing where Slurm does not answer."""
        found: dict[str, str] = {}
        by_array: dict[str, list[str]] = {}
        for job in jobs:
            by_array.setdefault(job.partition("_")[0], []).append(job)
        for array, own in by_array.items():
            listed = _listed(array)
            if listed is not None:
                found |= {job: listed.get(job, _GONE) for job in own}
        return found

    def ending(self, job: str) -> str | None:
        """How the function of a job ended: ``success`` or its traceback; ``None`` while no file says it."""
        found = result_of(self.folder, job)
        return None if found is None else "success" if found[0] == "success" else str(found[1])

    def output(self, job: str) -> str:
        """The end of what a job wrote."""
        from submitit.core.utils import JobPaths

        paths = JobPaths(self.folder, job_id=job, task_id=0)
        found = [path.read_text(errors="replace") for path in (paths.stdout, paths.stderr) if path.exists()]
        return mask_text("\n".join(found)[-_TAIL_CHARS:])


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Without what the environment says of the job that this process is, if it is one: jobs would inherit it."""
    own = [name for name in os.environ if name.startswith(_OF_A_JOB) and name != "SLURM_CONF"]
    kept = {name: os.environ.pop(name) for name in own} if "SLURM_JOB_ID" in os.environ else {}
    try:
        yield
    finally:
        os.environ.update(kept)


def result_of(folder: Path, job: str) -> tuple[str, Any] | None:
    """What submitit's file says of a job: ``success`` and a value, or ``error`` and a traceback; ``None`` without one.

    The file is unpickled: the folder is one that only this user can write to.
    """
    from submitit.core.utils import JobPaths, pickle_load

    path = JobPaths(folder, job_id=job, task_id=0).result_pickle
    if not path.exists():
        return None
    try:
        how, what = pickle_load(path)
    except (OSError, EOFError):
        return None
    return how, what


def _listed(array: str) -> dict[str, str] | None:
    """The states of a job, or of the tasks of an array; ``None`` where Slurm does not answer."""
    command = ["squeue", "-h", "-r", "-t", "all", "-j", array, "-o", "%F %K %T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    rows = (line.split() for line in done.stdout.splitlines())
    return {job if task == "N/A" else f"{job}_{task}": state for job, task, state in rows}


@dataclass
class _Following:
    """One array's worth of slices, until each has a result."""

    store: Store
    plan: Plan
    queue: _Queue
    on_result: OnResult
    waiting: list[int]
    jobs: dict[int, str] = field(default_factory=dict)
    tries: Counter[int] = field(default_factory=Counter)
    missed: dict[str, float] = field(default_factory=dict)  # job -> when it was first seen to have ended without a word

    def run(self) -> None:
        """Blocks until all of them are told."""
        self._begin()
        wait_s, looked, answered = _POLL_S, 0.0, time.monotonic()
        most_s = _MOST_POLL_S[self.store.local_path("replays") is not None]
        while self.waiting:
            try:
                self._tell_results()
                if time.monotonic() - looked >= _QUEUE_EVERY_S:
                    self._look_at_queue()
                    looked = time.monotonic()
                answered = time.monotonic()
            except Unavailable:  # of the store, or of Slurm, for a while
                if time.monotonic() - answered > _MOST_AWAY_S:
                    raise
            time.sleep(wait_s if self.waiting else 0.0)
            wait_s = min(most_s, wait_s * 1.2)

    def _begin(self) -> None:
        """Follow jobs that an earlier process submitted and that go on; submit what is left."""
        self._tell_results()
        known = {number: job for number, job in self.queue.known().items() if number in self.waiting}
        states = self.queue.states(known.values())
        going_on = {n: job for n, job in known.items() if job in states and states[job] not in {*_ENDED, _GONE}}
        self.jobs.update(going_on)
        self._submit([number for number in self.waiting if number not in going_on])

    def _submit(self, numbers: list[int]) -> None:
        if numbers:
            self.jobs.update(self.queue.submit(numbers))
            self.tries.update(numbers)

    def _tell_results(self) -> None:
        """Of slices that are answered, by whomever, and of those whose job says that it is through with them."""
        for number in list(self.waiting):
            job = self.jobs.get(number)
            is_through = job is not None and self.queue.ending(job) == "success"
            result = read_result(self.store, self.plan.replay, number)
            if result is not None and (is_through or result.outcome in DONE):
                self._tell(number, result)

    def _tell(self, number: int, result: SliceResult) -> None:
        self.queue.has_failed |= result.outcome not in DONE
        self.waiting.remove(number)
        self.on_result(result)

    def _look_at_queue(self) -> None:
        """Submit again what ended without a result, or tell that it will not come."""
        own = {number: self.jobs[number] for number in self.waiting}
        states = self.queue.states(own.values())
        again = []
        for number, job in own.items():
            reason = self._why_over(job, states.get(job))
            if reason is None:
                continue
            if self.tries[number] < MOST_TRIES and states.get(job) != "CANCELLED":
                again.append(number)
            else:
                self._give_up(number, job, reason)
        self._submit(again)

    def _why_over(self, job: str, state: str | None) -> str | None:
        """Why a job is over without a result; ``None`` while it may still come."""
        ending = self.queue.ending(job)
        if ending not in (None, "success"):
            return mask_text(str(ending).strip().splitlines()[-1])
        if ending is None and (state is None or state not in {*_ENDED, _GONE}):
            self.missed.pop(job, None)
            return None
        since = self.missed.setdefault(job, time.monotonic())
        may_still_come = ending or state in ("COMPLETED", "FAILED", _GONE)
        waits = may_still_come and time.monotonic() - since < _GRACE_S
        return None if waits else f"Slurm says {state or 'nothing'}"

    def _give_up(self, number: int, job: str, reason: str) -> None:
        run = next(piece.run for piece in self.plan.slices if piece.number == number)
        tries = f"{self.tries[number]} times, the last time as job {job}" if self.tries[number] > 1 else f"as job {job}"
        result = SliceResult(
            replay=self.plan.replay,
            number=number,
            run=run,
            outcome="failed",
            reason=f"submitted {tries}, it ended without a result: {reason}",
            output=self.queue.output(job),
        )
        self.store.put(keys.replay_result(self.plan.replay, number), encode(result))
        self._tell(number, result)
