"""Slices in Slurm's queue: submitted with submitit, asked for with squeue, cancelled where they are needless."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tracker.errors import BadSetting, Unavailable
from tracker.replay.documents import Plan
from tracker.replay.executors import patience_s
from tracker.secrets import mask_text
from tracker.store import durable

GRACE_S = 15.0  # for a result file to be seen over NFS, and for a job to go, after its work has ended
_POLL_S = 0.5
_COMMAND_S = 60.0
_TAIL_CHARS = 4000
_ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
_ENDED |= {"REVOKED", "SPECIAL_EXIT", "TIMEOUT", "GONE"}
_OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")
_SUBMITTED = "_submitted.pkl"  # the end of the name of what submitit keeps of a job

# What Slurm says of a job that it accepts and never starts. What it says of a partition counts where the job may go to
# that one only: else it is the partition that Slurm looked at last. PartitionNodeLimit is not among them, since Slurm
# says it of nodes that are down, too.
_NEVER = {"BadConstraints", "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS"}
_NEVER_THERE = {"AccountNotAllowed", "MaxMemPerLimit", "PartitionConfig", "PartitionTimeLimit", "QOSNotAllowed"}
_NEVER_THERE_ENDINGS = ("NotSatisfied", "PerJob", "PerJobLimit", "PerNode")
_USUAL = {"BeginTime", "Cleaning", "JobArrayTaskLimit", "None", "Priority", "Prolog", "Resources"}


class Standing(NamedTuple):
    """How a job stands, in Slurm's words; ``GONE`` where it has forgotten the job."""

    state: str
    reason: str = ""
    partitions: str = ""  # one, or several between commas

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in _ENDED

    @property
    def never_starts(self) -> bool:
        """Whether it waits for what will not be, unless somebody changes it or the cluster."""
        is_never_there = self.reason in _NEVER_THERE or self.reason.endswith(_NEVER_THERE_ENDINGS)
        is_never = self.reason in _NEVER or (is_never_there and "," not in self.partitions)
        return self.state == "PENDING" and is_never

    @property
    def is_held_up(self) -> bool:
        """Whether it waits for more than its turn."""
        return self.state == "PENDING" and self.reason not in _USUAL


@dataclass
class Queue:
    """Submits slices, and knows how their jobs stand."""

    url: str
    plan: Plan
    parameters: dict[str, Any]
    storage_options: dict[str, Any]
    folder: Path
    function: Callable[..., Any]  # of store, options, replay and number

    @property
    def _note(self) -> Path:
        return self.folder / "jobs.json"

    @property
    def job_name(self) -> str:
        """The same for all jobs of the replay."""
        return f"hindsight-{self.plan.replay[-8:]}"

    def known(self) -> dict[int, str]:
        """The last job of every slice that was submitted, also by an earlier process."""
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=dict[int, str])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}

    def submit(self, numbers: list[int]) -> dict[int, str]:
        """The jobs of these slices, which are put into one array."""
        import submitit

        self._check_options()
        rows = [[value] * len(numbers) for value in (self.url, self.storage_options, self.plan.replay)]
        try:
            executor = submitit.SlurmExecutor(self.folder, python=None)
            executor.update_parameters(**self._parameters())
            with _outside_of_jobs():
                jobs = executor.map_array(self.function, *rows, numbers)
        except (TypeError, ValueError) as exc:
            reason = mask_text(str(exc).partition("\n")[0])
            raise BadSetting(
                f"submitit does not take the setting slurm: {reason}; expected its names of Slurm's options, such as "
                "partition, time and mem, and additional_parameters for all others"
            ) from exc
        except (RuntimeError, OSError) as exc:
            raise Unavailable(f"Slurm does not take the jobs of this replay: {mask_text(str(exc))}") from exc
        found = {number: str(job.job_id) for number, job in zip(numbers, jobs, strict=True)}
        durable.write(self._note, msgspec.json.encode(self.known() | found))
        return found

    def _check_options(self) -> None:
        """``BadSetting`` for options of the store that no job could be given."""
        import cloudpickle  # what submitit does it with

        try:
            cloudpickle.dumps(self.storage_options)
        except (pickle.PicklingError, TypeError, AttributeError, ValueError) as exc:
            raise BadSetting(
                f"the storage options {', '.join(sorted(self.storage_options))} cannot be given to jobs: "
                f"{mask_text(str(exc))}; expected values that can be pickled, such as texts and numbers"
            ) from exc

    def _parameters(self) -> dict[str, Any]:
        given = {key: value for key, value in self.parameters.items() if key != "folder"}
        own = {
            "job_name": self.job_name,
            "time": math.ceil(patience_s(self.plan) / 60),
            "array_parallelism": max(1, self.plan.workers),
            "use_srun": False,
        }
        return own | given

    def standing(self, jobs: Iterable[str]) -> dict[str, Standing]:
        """How each of these jobs stands; ``Unavailable`` where Slurm does not answer."""
        found: dict[str, Standing] = {}
        by_array: dict[str, list[str]] = {}
        for job in jobs:
            by_array.setdefault(job.partition("_")[0], []).append(job)
        for array, own in by_array.items():
            listed = _listed(array)
            found |= {job: listed.get(job, Standing("GONE")) for job in own}
        return found

    def cancel(self, jobs: Collection[str]) -> None:
        """Take jobs out of the queue; where Slurm does not answer they stay in it, and find nothing to do."""
        if jobs:
            try:
                subprocess.run(["scancel", *jobs], capture_output=True, timeout=_COMMAND_S)
            except (OSError, subprocess.TimeoutExpired):
                return

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

    def clear(self, own: Collection[str]) -> None:
        """Once all slices are answered: end jobs of ours, and remove the files when nobody's job needs them any more.

        A job that has just answered gets time to end by itself. Files of jobs that go on stay; they are for their user
        alone. ``Unavailable`` where Slurm does not answer.
        """
        began, cancelled = time.monotonic(), set[str]()
        while left := self._going_on():
            waited = time.monotonic() - began
            mine = left.keys() & set(own)
            if not mine or waited > 2 * GRACE_S:
                return
            needless = {job for job in mine if left[job].state == "PENDING" or waited > GRACE_S} - cancelled
            self.cancel(needless)
            cancelled |= needless
            time.sleep(_POLL_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _going_on(self) -> dict[str, Standing]:
        """All jobs that have files here and have not ended, whoever submitted them."""
        jobs = [path.name.removesuffix(_SUBMITTED) for path in self.folder.glob(f"*{_SUBMITTED}")]
        return {job: standing for job, standing in self.standing(jobs).items() if not standing.is_over}


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


def _listed(array: str) -> dict[str, Standing]:
    """A job, or the tasks of an array, as far as Slurm knows them still."""
    command = ["squeue", "-h", "-r", "-t", "all", "-j", array, "-o", "%F %K %T %P %r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"Slurm does not answer (squeue): {exc}; jobs that it has go on") from exc
    if done.returncode:
        if "Invalid job id" in done.stderr:
            return {}
        raise Unavailable(f"Slurm does not answer (squeue): {done.stderr.strip()}; jobs that it has go on")
    found = {}
    for line in done.stdout.splitlines():
        job, task, state, partitions, *reasons = line.split(maxsplit=4)
        reason = "".join(reasons).partition(",")[0].strip()
        found[job if task == "N/A" else f"{job}_{task}"] = Standing(state, reason, partitions)
    return found
