"""Prefect: the flow or task run that runs this code, and ``@tracked`` above ``@flow`` and ``@task``."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tracker.decorators.places import Place
from tracker.decorators.prefect_plain import call_plainly, plain_place
from tracker.decorators.prefect_states import ending_of
from tracker.decorators.prefect_stores import configured_store

from tracker.record.lifecycle import active_run
from tracker.record.replaying import order
from tracker.secrets import mask_url
from tracker.store.documents import Status

if TYPE_CHECKING:
    from tracker.record.run import Run

_MOST_KEPT = 64
_MEANING: dict[str, Status] = {
    "Pause": "preempted",  # suspended: the flow run goes on later, in another process, as a further attempt
    "Abort": "killed",  # the server takes this try back
    "TerminationSignal": "killed",  # cancelled, or the process is asked to end
    "CancelledRun": "killed",
}
_kept: dict[tuple[str, str], Place] = {}


def current_place() -> Place | None:
    """The innermost task or flow run in this context, also in threads and processes of a task runner; ``None`` outside
    of one.
    """
    contexts = sys.modules.get("prefect.context")
    if contexts is None:
        return None
    if order() is not None:
        call_plainly()
        return plain_place.get()
    flow_context, task_context = contexts.FlowRunContext.get(), contexts.TaskRunContext.get()
    flow_run = getattr(flow_context, "flow_run", None)
    task_run = getattr(task_context, "task_run", None)
    if task_run is not None and (flow_run is None or task_run.flow_run_id == flow_run.id):
        return _remembered(task_run, lambda: _of_task(task_run, task_context.task, flow_run, flow_context))
    if flow_run is not None:
        return _remembered(flow_run, lambda: _of_flow(flow_run, flow_context.flow))
    return None


def flow_key(flow_run_id: Any) -> str:
    """What every try of a flow run has in common."""
    return f"prefect/{flow_run_id}"


def adapt(decorated: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any | None:
    """What ``@flow`` or ``@task`` made, as a copy whose function is wrapped; ``None`` for what is not Prefect's."""
    names = _names(type(decorated))
    if not names & {"Flow", "Task"}:
        return None
    changed = copy.copy(decorated)
    changed.fn = wrap(decorated.fn)
    if "Flow" in names:
        changed.on_crashed_hooks = [*decorated.on_crashed_hooks, end_lost_runs]
        changed.on_cancellation_hooks = [*decorated.on_cancellation_hooks, end_lost_runs]
    return changed


def end_lost_runs(flow: Any, flow_run: Any, state: Any) -> None:
    """See ``tracker.decorators.prefect_hooks``, which is imported when it is needed."""
    from tracker.decorators.prefect_hooks import end_lost_runs as hook

    hook(flow, flow_run, state)


def _leave_link(run: Run) -> None:
    """See ``tracker.decorators.prefect_links``, which is imported when it is needed."""
    from tracker.decorators.prefect_links import leave_link

    leave_link(run)


def status_of(exc: BaseException) -> Status | None:
    """A suspended flow run goes on later, a cancelled one was killed."""
    return next((_MEANING[name] for name in _MEANING.keys() & _names(type(exc))), None)


def _names(kind: type) -> set[str]:
    """The class and its bases, as far as they are Prefect's."""
    return {base.__name__ for base in kind.__mro__ if base.__module__.startswith("prefect.")}


def _remembered(run: Any, describe: Callable[[], Place]) -> Place:
    """The place of a run's try; made once, because a task may call tracked functions in its inner loop."""
    key = (str(run.id), str(run.run_count))
    found = _kept.get(key)
    if found is None:
        found = describe()
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[key] = found
    return found


def _of_task(task_run: Any, task: Any, flow_run: Any, flow_context: Any) -> Place:
    details = {
        "engine": "prefect",
        "task": task.name,
        "task_run_id": str(task_run.id),
        "task_run": task_run.name,
        "run_count": task_run.run_count,
        "flow": None if flow_run is None else flow_context.flow.name,
        "flow_run_id": None if task_run.flow_run_id is None else str(task_run.flow_run_id),
        "flow_run": None if flow_run is None else flow_run.name,
        "deployment_id": _text(getattr(flow_run, "deployment_id", None)),
        "url": _url("task-run", task_run.id),
    }
    return Place(
        engine="prefect",
        launch_key=f"prefect/{task_run.id}",
        attempt=f"{task_run.flow_run_run_count}.{task_run.run_count}",
        name=task_run.name or task.name,
        parent_key=None if task_run.flow_run_id is None else flow_key(task_run.flow_run_id),
        details={name: value for name, value in details.items() if value is not None},
        tags=tuple(sorted(task_run.tags)),
        ending=ending_of,
        settings=configured_store,
    )


def _of_flow(flow_run: Any, flow: Any) -> Place:
    details = {
        "engine": "prefect",
        "flow": flow.name,
        "flow_run_id": str(flow_run.id),
        "flow_run": flow_run.name,
        "run_count": flow_run.run_count,
        "deployment_id": _text(flow_run.deployment_id),
        "flow_version": flow_run.flow_version,
        "work_pool": flow_run.work_pool_name,
        "url": _url("flow-run", flow_run.id),
    }
    return Place(
        engine="prefect",
        launch_key=flow_key(flow_run.id),
        attempt=str(flow_run.run_count),
        name=flow_run.name,
        parent_key=_key_of_parent(flow_run),
        details={name: value for name, value in details.items() if value is not None},
        tags=tuple(sorted(flow_run.tags)),
        on_begin=_leave_link if flow_run.run_count <= 1 else None,
        ending=ending_of,
        settings=configured_store,
    )


def _key_of_parent(flow_run: Any) -> str | None:
    """The flow run that started this one where that runs in another process, which asks the server once."""
    if flow_run.parent_task_run_id is None or active_run() is not None:
        return None
    try:
        from prefect.runtime import flow_run as runtime

        found = runtime.get_parent_flow_run_id()
    except Exception:  # noqa: BLE001  whose child a run is must not keep it from being recorded
        return None
    return None if found is None else flow_key(found)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _url(kind: str, run_id: Any) -> str | None:
    """The run's page in Prefect's own pages; ``None`` where no server is configured."""
    try:
        from prefect.utilities.urls import url_for

        found = url_for(kind, obj_id=run_id, url_type="ui")
    except Exception:  # noqa: BLE001  a page's address is not worth a run
        return None
    return None if found is None else mask_url(found)
