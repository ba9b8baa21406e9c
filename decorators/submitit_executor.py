"""submitit's executor, whose jobs are runs. Loaded by those who use it: it needs submitit to be defined at all."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import submitit
from submitit.core.core import Job
from submitit.core.utils import DelayedSubmission
from tracker.decorators.submitit import Submission

from tracker.code.project import function_root, script_root
from tracker.config import load_settings
from tracker.errors import InputError, NotFound
from tracker.record.identity import run_of_launch
from tracker.record.stores import resolve_store
from tracker.store.ids import new_id

if TYPE_CHECKING:
    from tracker.read.catalog import RunView


class TrackedExecutor(submitit.AutoExecutor):  # type: ignore[misc]
    """``submitit.AutoExecutor`` whose jobs are runs: arguments, result or exception, output, code, and what they log.

    ``cluster`` is ``slurm``, ``local`` or ``debug``; ``auto`` or nothing takes Slurm where it is. ``name``, ``tags``
    and further keywords are those of ``tracker.init``; keywords that begin with the name of a cluster are submitit's.
    Everything else is submitit's own: ``update_parameters``, ``submit``, ``map_array``, ``submit_array``, ``batch``.

    A job that Slurm puts into its queue again is a further attempt of the same run, and so is one that is submitted
    again with ``resubmit`` under a new id. With ``tracker.checkpointing(resume=True)`` it goes on from the last
    checkpoint, also when its time was up. Tasks of one job are shards of one run. ``job.run`` is the run.

    ::

        executor = TrackedExecutor("jobs", cluster="slurm", store="s3://bucket/runs")
        executor.update_parameters(timeout_min=60, slurm_partition="gpu")
        jobs = executor.map_array(train, [1e-3, 1e-4])
        jobs[0].result(), jobs[0].run.status
    """

    def __init__(
        self,
        folder: str | Path,
        cluster: str | None = None,
        *,
        name: str | None = None,
        tags: tuple[str, ...] | list[str] = (),
        **options: Any,
    ) -> None:
        prefixes = tuple(f"{each}_" for each in submitit.core.plugins.get_executors())
        own = {key: options.pop(key) for key in list(options) if key.startswith(prefixes)}
        load_settings(script_root(), overrides=options)  # a slip is told here, and not by every job
        super().__init__(folder, None if cluster == "auto" else cluster, **own)
        self.options = {"name": name, "tags": tuple(tags), **options}

    def _internal_process_submissions(self, delayed_submissions: list[DelayedSubmission]) -> list[Job[Any]]:
        for delayed in delayed_submissions:
            if not isinstance(delayed.function, Submission):
                delayed.function = Submission(delayed.function, f"submitit/{new_id()}", self.options)
        jobs: list[Job[Any]] = super()._internal_process_submissions(delayed_submissions)
        for job, delayed in zip(jobs, delayed_submissions, strict=True):
            _give_run(job, delayed.function)
        return jobs

    def resubmit(self, job: Job[Any]) -> Job[Any]:
        """Submit the call of a job once more, as it was last checkpointed: a further attempt of the same run.

        For jobs that Slurm cancelled without putting them into its queue again. ``InputError`` for a job that no
        `TrackedExecutor` submitted. What ended the job stays as it was told: the new one begins with no tries.
        """
        delayed = job.submission()
        if not isinstance(delayed.function, Submission):
            raise InputError(f"job {job.job_id} was not submitted by a TrackedExecutor: nothing tells its run")
        return self.submit(replace(delayed.function, tries=0), *delayed.args, **delayed.kwargs)


def run_of(job: Any) -> RunView:
    """The run of a job as the store has it now; ``NotFound`` while the job has not begun."""
    from tracker.read.catalog import find_run

    submission: Submission = job.hindsight
    root = _root_of(submission.function)
    given = {key: value for key, value in submission.options.items() if key not in ("name", "tags")}
    store = resolve_store(load_settings(root, overrides=given), root, create=False)
    run = run_of_launch(store, submission.key)
    if run is None:
        raise NotFound(f"{store.url} has no run of job {job.job_id} yet: it has not begun, or records elsewhere")
    return find_run(store, run)


def _root_of(function: Any) -> Path:
    """The project whose settings the job has: that of the function, also of one inside of a partial or an object."""
    while isinstance(function, functools.partial):
        function = function.func
    return function_root(function) or function_root(type(function).__call__) or script_root()


class TrackedSlurmJob(submitit.SlurmJob[Any]):  # type: ignore[misc]
    """A job of Slurm's with its ``run``."""

    run = property(run_of)


class TrackedLocalJob(submitit.LocalJob[Any]):  # type: ignore[misc]
    """A process of this machine with its ``run``."""

    run = property(run_of)


class TrackedDebugJob(submitit.DebugJob[Any]):  # type: ignore[misc]
    """A call in this process with its ``run``."""

    run = property(run_of)


_CLASSES: dict[type, type] = {
    submitit.SlurmJob: TrackedSlurmJob,
    submitit.LocalJob: TrackedLocalJob,
    submitit.DebugJob: TrackedDebugJob,
}


def _give_run(job: Any, submission: Submission) -> None:
    """Let a job, and those of its tasks, tell their run; jobs of other plugins stay what they are."""
    for each in (job, *job.__dict__.get("_sub_jobs", ())):
        if type(each) in _CLASSES:  # submitit makes its jobs in many places
            each.__class__ = _CLASSES[type(each)]
            each.hindsight = submission
