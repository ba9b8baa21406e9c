"""Making a run of a task instance without a change of its code: for the listener, and for ``tracked(operator)``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracker.decorators.airflow import configured_store, place_of
from tracker.decorators.places import status_of
from tracker.decorators.tracking import tracked
from tracker.operators.compat import redact

from tracker.checkpoint.invocations import masked
from tracker.code.project import project_root
from tracker.record.arguments import note_argument
from tracker.record.context import PROCESS, current_scope, set_scope
from tracker.record.lifecycle import begin_run, end_run
from tracker.record.origin import Origin
from tracker.record.run import Run
from tracker.store.documents import Entry, Status

_CALLS = "PythonOperator"  # the work of others goes on behind their function's end, or it is called again and again
_OTHER_INTERPRETER = "_BasePythonVirtualenvOperator"  # where its function travels as text
_PAUSED = {"deferred", "up_for_reschedule", "awaiting_input"}


def function_of(task: Any) -> Callable[..., Any] | None:
    """The function that is the whole work of this operator, and is called once, here."""
    names = {base.__name__ for base in type(task).__mro__}
    if _CALLS not in names or _OTHER_INTERPRETER in names:
        return None
    function = getattr(task, "python_callable", None)
    return function if callable(function) and hasattr(function, "__code__") else None


def track_function(task: Any, options: dict[str, Any]) -> bool:
    """Let the operator call its function tracked; ``False`` for operators that call none, or do more than that."""
    function = function_of(task)
    if function is None:
        return False
    task.python_callable = tracked(**options)(function) if options else tracked(function)
    return True


def open_run(ti: Any, options: dict[str, Any] | None = None) -> Run:
    """A run for a task instance whose operator is no Python function; ``options`` are those of ``@tracked``."""
    task, place = ti.task, place_of(ti)
    given = {name: value for name, value in (options or {}).items() if value is not None}
    configured = {} if "store" in given else configured_store()
    file = Path(getattr(task.dag, "fileloc", "") or os.getcwd())
    root = project_root(file.parent)
    script = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
    origin = Origin(
        name=given.pop("name", None) or place.name,
        launch_key=place.launch_key,
        tags=(*given.pop("tags", ()), *place.tags),
        orchestrator={**place.details, "operator": f"{type(task).__module__}.{type(task).__qualname__}"},
        root=root,
        entry=Entry(kind="interactive", script=script),  # a DAG file does nothing by itself
    )
    run = begin_run(origin, {**configured, **given})
    for name in getattr(task, "template_fields", ()):
        value = getattr(task, name, None)
        if value is not None:
            note_argument(run.recorder, name, masked(name, redact(value, name)))
    return run


def close_run(run: Run, state: str, error: Any = None) -> None:
    """End the run as Airflow says that the task instance ended. One that waits elsewhere goes on as an attempt."""
    status: Status = "finished"
    if state in _PAUSED:
        status = "preempted"
    elif state in ("failed", "up_for_retry"):
        status = "failed"
    end_run(run, failure=error if isinstance(error, BaseException) else None, status=status)


def within_run(ti: Any, options: dict[str, Any], work: Callable[[], Any]) -> Any:
    """The result of the work, done in a run of its own; what goes wrong with the run is told and changes nothing."""
    try:
        run = open_run(ti, options)
    except Exception as exc:  # noqa: BLE001  promise: tracking never changes what a task does
        PROCESS.warn_once(f"task {ti.task_id} is not tracked: {type(exc).__name__}: {exc}")
        return work()
    outer = current_scope()
    set_scope(run.recorder.root)
    try:
        result = work()
    except BaseException as exc:
        end_run(run, failure=exc, status=status_of(exc))
        raise
    finally:
        set_scope(outer)
    end_run(run)
    return result
