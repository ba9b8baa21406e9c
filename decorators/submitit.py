"""submitit: the job that runs this code, and functions as they are handed to its executors."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from tracker.decorators import slurm
from tracker.decorators.places import Place
from tracker.decorators.tracking import tracked

from tracker.record import batch
from tracker.record.identity import SHARD_VARIABLE
from tracker.record.lifecycle import active_run
from tracker.record.replaying import order
from tracker.store.documents import Status

_MAIN = "submitit.core._submit"  # the program of every job
_HANDLER = "checkpoint_and_try_requeue"  # what submitit calls when a job is about to end

_submission: ContextVar[Submission | None] = ContextVar("hindsight_submission", default=None)
_places: dict[str, Place] = {}


@dataclass
class Submission:
    """A function on its way into a job: called there, it is a run that has the same identity in every try.

    ``key`` belongs to the function from its first submission on, so a job that is put into the queue again, and one
    that is submitted again under a new id, continue the run.
    """

    function: Callable[..., Any]
    key: str
    options: dict[str, Any] = field(default_factory=dict)
    tries: int = 0  # that submitit itself has ended

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _is_job():
            os.environ.pop(SHARD_VARIABLE, None)  # meant for workers of the process that submitted the job
        _places.pop(self.key, None)  # of an earlier job with the same call, which was executed in this process, too
        token = _submission.set(self)
        try:
            return _called(self.function, args, kwargs)
        finally:
            _submission.reset(token)

    def __getattr__(self, name: str) -> Any:
        """``checkpoint``, which submitit asks for when time is up: the function's own, or the same call once more where
        the run resumes from checkpoints of ours.
        """
        if name != "checkpoint" or "function" not in self.__dict__:
            raise AttributeError(name)
        own = getattr(self.function, "__submitit_checkpoint__", None) or getattr(self.function, "checkpoint", None)
        if own is not None:
            return functools.partial(self._checkpointed, own)
        run = active_run()
        if run is None or not run.resumes:
            raise AttributeError(name)
        return self._again

    def _checkpointed(self, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        delayed = own(*args, **kwargs)
        if delayed is not None and not isinstance(delayed.function, Submission):
            delayed.function = replace(self, function=delayed.function, tries=self.tries + 1)
        return delayed

    def _again(self, *args: Any, **kwargs: Any) -> Any:
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(replace(self, tries=self.tries + 1), *args, **kwargs)


def _called(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function as ``@tracked``; of a method, or an object that can be called, the function behind it."""
    if isinstance(function, functools.partial):
        return _called(function.func, (*function.args, *args), {**function.keywords, **kwargs})
    if getattr(function, "__hindsight_tracking__", None) is not None:
        return function(*args, **kwargs)
    owner = getattr(function, "__self__", None)
    if owner is not None and hasattr(function, "__func__"):
        return _tracked(function.__func__, None)(owner, *args, **kwargs)
    if not hasattr(function, "__code__"):
        call = next((vars(kind)["__call__"] for kind in type(function).__mro__ if "__call__" in vars(kind)), None)
        if call is not None and hasattr(call, "__code__"):
            return _tracked(call, type(function).__name__)(function, *args, **kwargs)
        return function(*args, **kwargs)  # a built-in: nothing in it logs
    return _tracked(function, None)(*args, **kwargs)


def _tracked(function: Callable[..., Any], name: str | None) -> Callable[..., Any]:
    decorated: Callable[..., Any] = tracked(name=name)(function)
    return decorated


def current_place() -> Place | None:
    """The job that runs this code; ``None`` outside of one, in programs that a job starts, and in a replay."""
    submission = _submission.get()
    if submission is None and not _is_job():
        return None
    key = submission.key if submission is not None else _key_of_job()
    place = _places.get(key)
    if place is None and order() is None:
        place = _places[key] = _place(key, submission)
    return place


def adapt(decorated: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any | None:
    """submitit has no decorators."""
    return None


def status_of(exc: BaseException) -> Status | None:
    """An exception out of submitit's own handler: the job goes on later, or time was up for good."""
    trace = exc.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name == _HANDLER and "submitit" in code.co_filename:
            return "preempted" if isinstance(exc, SystemExit) else "killed"
        trace = trace.tb_next
    return None


def _is_job() -> bool:
    """Whether this process is a job of submitit's, and not a program that one has started."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name == _MAIN and "SUBMITIT_FOLDER" in os.environ


def _key_of_job() -> str:
    """Of a function that was handed to an executor of submitit's own: the same over requeues."""
    from submitit import JobEnvironment

    environment = JobEnvironment()
    return f"submitit/{environment.paths.folder}/{environment.job_id}"


def _place(key: str, submission: Submission | None) -> Place:
    from submitit import JobEnvironment

    environment = JobEnvironment()
    is_slurm = "SLURM_JOB_ID" in os.environ and environment.cluster == "slurm"
    restarts = batch.restarts_of(os.environ) if is_slurm else 0
    tries = submission.tries if submission is not None else 0
    details = batch.details_of(os.environ) if is_slurm else {"job": environment.job_id}
    folder = str(environment.paths.folder) if "SUBMITIT_FOLDER" in os.environ else None
    details |= {"engine": "submitit", "cluster_kind": environment.cluster, "host": environment.hostname}
    details |= {"folder": folder, "submission": submission.key if submission is not None else None}
    options = dict(submission.options) if submission is not None else {}
    return Place(
        engine="submitit",
        launch_key=key,
        attempt=f"{environment.job_id}/{restarts}/{tries}",
        name=options.pop("name", None),
        tags=tuple(options.pop("tags", ())),
        details={name: value for name, value in details.items() if value is not None},
        options=options,
        rank=environment.global_rank,
        ranks=environment.num_tasks,
        is_restart=restarts > 0 or tries > 0,
        on_begin=slurm.watch_signals if is_slurm else None,
    )
