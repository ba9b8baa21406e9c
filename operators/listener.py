"""Every task instance as a run, with no change of any code: ``[hindsight] listener = True``."""

from __future__ import annotations

import logging
import sys
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)
# What every task would import again, in the process that it is forked from. Imports alone start no threads.
_OF_A_RUN = (
    *("numpy.ma", "pyarrow.compute", "pyarrow.parquet", "psutil", "tracker.code.environment", "tracker.code.host"),
    *("tracker.code.packages", "tracker.code.snapshot", "tracker.decorators.calls", "tracker.operators.capturing"),
    *("tracker.record.capture", "tracker.record.inputs", "tracker.record.log_records", "tracker.record.output"),
    *("tracker.record.system", "tracker.record.terminal", "tracker.store.tables"),
)
_runs: dict[str, tuple[Any, Any]] = {}  # of operators without a function: by launch key, with their task instance


@hookimpl  # type: ignore[untyped-decorator]
def on_starting(component: Any) -> None:
    """In a scheduler, before its local workers are forked: import what they need, half a second per task otherwise."""
    is_scheduler = type(component).__name__ == "Job" and sys.argv[1:2] == ["scheduler"]  # it has no type yet
    if is_scheduler and (_is_on() or _is_set("preload")):
        for module in _OF_A_RUN:
            try:
                import_module(module)
            except Exception as exc:  # noqa: BLE001  tasks will say what is wrong; a scheduler must start
                log.warning("Hindsight: %s cannot be imported: %s", module, exc)


@hookimpl  # type: ignore[untyped-decorator]
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:
    """In the task's process, its fields rendered: make it a run."""
    try:
        if _is_wanted(task_instance.task):
            _begin(task_instance)
    except Exception as exc:  # noqa: BLE001  promise: tracking never changes what a task does
        log.warning("Hindsight: this task is not tracked: %s: %s", type(exc).__name__, exc)


@hookimpl  # type: ignore[untyped-decorator]
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """In the task's process, after its end."""
    _end(task_instance, "success")


@hookimpl  # type: ignore[untyped-decorator]
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """Of its own will."""
    _end(task_instance, "skipped")


@hookimpl  # type: ignore[untyped-decorator]
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """Also for every try that is followed by another; also in the API server, which knows of no run."""
    _end(task_instance, "failed", error)


@hookimpl  # type: ignore[untyped-decorator]
def before_stopping(component: Any) -> None:
    """The task's process ends: what is open now was deferred, rescheduled, or skipped itself in Airflow 2."""
    _close_all()


@hookimpl  # type: ignore[untyped-decorator]
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """In the process of ``dag.test()``, which stops with none of its tasks. Other processes have nothing open."""
    _close_all()


@hookimpl  # type: ignore[untyped-decorator]
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """As after a success."""
    _close_all()


def _is_wanted(task: Any) -> bool:
    """Whether the configuration wants this task's DAG, and nothing else makes a run of it."""
    from airflow.providers.common.compat.sdk import conf

    if not _is_on() or getattr(task, "hindsight_managed", False):
        return False
    patterns = _listed(conf.get("hindsight", "dag_ids", fallback="*")) or ["*"]
    tags = set(_listed(conf.get("hindsight", "dag_tags", fallback="")))
    dag = task.dag
    return any(fnmatchcase(dag.dag_id, pattern) for pattern in patterns) and (not tags or bool(tags & set(dag.tags)))


def _is_on() -> bool:
    return _is_set("listener")


def _is_set(option: str) -> bool:
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean("hindsight", option, fallback=False))


def _listed(text: str) -> list[str]:
    return [piece.strip() for piece in text.split(",") if piece.strip()]


def _begin(ti: Any) -> None:
    from tracker.operators.capturing import open_run, track_function

    from tracker.record.context import set_scope

    _close_all()  # `dag.test()` executes one after the other in one process
    if not track_function(ti.task, {}):
        run = open_run(ti)
        _runs[_key(ti)] = run, ti
        set_scope(run.recorder.root)


def _end(ti: Any, state: str, error: Any = None) -> None:
    if _runs:
        _close(_key(ti), state, error)


def _key(ti: Any) -> str:
    from tracker.decorators.airflow import launch_key

    return launch_key(ti.dag_id, ti.run_id, ti.task_id, getattr(ti, "map_index", -1))


def _close_all() -> None:
    """No hook tells of those that are deferred or rescheduled, nor Airflow 2 of those that skip themselves."""
    for key, (_, ti) in list(_runs.items()):
        _close(key, "skipped" if str(getattr(ti, "state", "")).endswith("skipped") else "deferred")


def _close(key: str, state: str, error: Any = None) -> None:
    run, _ = _runs.pop(key, (None, None))
    if run is None:
        return
    try:
        from tracker.operators.capturing import close_run

        close_run(run, state, error)
    except Exception as exc:  # noqa: BLE001  the task has done its work
        log.warning("Hindsight: the end of this task is not recorded: %s: %s", type(exc).__name__, exc)
