"""A batch system's job as the environment of its processes tells it: how Slurm names this process in every try."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from tracker.errors import Unavailable
from tracker.record.identity import RUN_VARIABLE, counted, run_of_launch
from tracker.record.origin import Origin
from tracker.record.replaying import order
from tracker.store.base import Store

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
    "ranks": "SLURM_STEP_NUM_TASKS",
    "restarts": "SLURM_RESTART_COUNT",
}
_NUMBERS = {"array_task", "rank", "ranks", "restarts"}


def in_batch_job(origin: Origin, store: Store, spool: Store, *, is_process: bool) -> Origin:
    """The origin with the identity that a job of Slurm's gives to it. Processes agree on it through ``store``, and
    through ``spool`` while that does not answer.

    The run of a process that has no other identity is continued when Slurm puts the job into its queue again, and the
    processes of one ``srun`` are ranks of one run.
    """
    if order() is not None:
        return origin
    origin = _numbered(origin, spool if origin.offline else store, spool, is_process=is_process)
    return _apart(origin, spool) if origin.offline and origin.rank else origin


def _apart(origin: Origin, spool: Store) -> Origin:
    """A rank of whose attempt the spool knows nothing is a run of its own: the first rank may have reached the store,
    or stand on another machine, and nobody would begin and end the attempt that this one would write into.
    """
    if origin.attempt_key is not None and run_of_launch(spool, origin.attempt_key) is not None:
        return origin
    key = origin.launch_key and f"{origin.launch_key}/{origin.rank}"
    return replace(origin, rank=0, attempt_key=None, launch_key=key)


def _numbered(origin: Origin, home: Store, spool: Store, *, is_process: bool) -> Origin:
    if is_process and _is_nameless(origin) and "SLURM_JOB_ID" in os.environ:
        origin = replace(origin, **of_process(os.environ), orchestrator=details_of(os.environ), is_counted=True)
    if not origin.is_counted or origin.launch_key is None:
        return origin
    tried = f"{restarts_of(os.environ)}/{origin.rank}"
    with suppress(Unavailable):
        origin = replace(origin, launch_key=counted(home, spool, origin.launch_key, attempt=tried))
    if origin.attempt_key is not None:
        origin = replace(origin, attempt_key=f"{origin.launch_key}@{restarts_of(os.environ)}")
    return origin


def _is_nameless(origin: Origin) -> bool:
    return origin.run_id is None and origin.launch_key is None and RUN_VARIABLE not in os.environ


def of_process(environ: Mapping[str, str]) -> dict[str, Any]:
    """What an `Origin` says of a process of a job: the same in every try, for every rank."""
    rank, ranks = ranks_of(environ)
    restarts = restarts_of(environ)
    key = process_key(environ)
    attempt_key = f"{key}@{restarts}" if ranks > 1 else None
    return {"launch_key": key, "attempt_key": attempt_key, "rank": rank, "is_restart": restarts > 0}


def process_key(environ: Mapping[str, str]) -> str:
    """The job, its step, and of a step with one process its command line: a job may run one script after another."""
    step = environ.get("SLURM_STEP_ID", "batch")
    key = f"slurm/{environ.get('SLURM_CLUSTER_NAME', '')}/{job_of(environ)}/{step}"
    if ranks_of(environ)[1] > 1:
        return key
    words = "\0".join([os.getcwd(), *sys.argv, environ.get("HINDSIGHT_KWARGS", "")])
    return f"{key}/{blake2b(words.encode('utf-8', 'surrogateescape'), digest_size=8).hexdigest()}"


def details_of(environ: Mapping[str, str]) -> dict[str, Any]:
    """What Slurm says of a process in its environment, as `start.json` keeps it."""
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
    rank, ranks = environ.get("SLURM_PROCID", ""), environ.get("SLURM_STEP_NUM_TASKS", "")
    is_step = "SLURM_STEP_ID" in environ and rank.isdecimal() and ranks.isdecimal()
    return (int(rank), int(ranks)) if is_step else (0, 1)
