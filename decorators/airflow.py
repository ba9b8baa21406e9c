"""Airflow: the task instance that runs this code, and ``@tracked`` above ``@task``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tracker.decorators.places import Place

from tracker.errors import InputError
from tracker.secrets import mask_text
from tracker.store.documents import Status

DEFAULT_CONN_ID = "hindsight_default"
_FLAGS = ("is_setup", "is_teardown", "on_failure_fail_dagrun", "returns_dag_result")
_OTHER_INTERPRETER = ("_BasePythonVirtualenvOperator", "_DockerDecoratedOperator", "_KubernetesDecoratedOperator")
_MEANING: dict[str, Status] = {
    "AirflowSkipException": "finished",
    "DownstreamTasksSkipped": "finished",
    "DagRunTriggerException": "finished",
    "TaskDeferred": "preempted",  # it goes on elsewhere, as a further attempt
    "TaskAwaitingInput": "preempted",
    "AirflowRescheduleException": "preempted",
    "AirflowTaskTerminated": "killed",
}
_PLAIN_FORMS: dict[str, Callable[[Any], Any]] = {"ParamsDict": dict, "LazyXComSequence": list}
_last: tuple[Any, int, Place] | None = None


def current_place() -> Place | None:
    """The task instance that Airflow executes in this process; ``None`` outside of one."""
    global _last
    context = _context()
    ti = context.get("ti") if context else None
    if ti is None:
        return None
    if _last is not None and _last[0] is ti and _last[1] == ti.try_number:
        return _last[2]
    place = place_of(ti)
    _last = (ti, ti.try_number, place)
    return place


def place_of(ti: Any) -> Place:
    """Where a task instance stands, also one that another process executes."""
    map_index = -1 if ti.map_index is None else ti.map_index
    details = {
        "engine": "airflow",
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": map_index,
        "try_number": ti.try_number,
        "url": _url(ti),
    }
    return Place(
        engine="airflow",
        launch_key=launch_key(ti.dag_id, ti.run_id, ti.task_id, map_index),
        attempt=str(ti.try_number),
        name=ti.task_id if map_index < 0 else f"{ti.task_id}[{map_index}]",
        details={name: value for name, value in details.items() if value is not None},
        tags=(f"dag:{ti.dag_id}",),
        kept=without_own_objects,
        settings=configured_store,
    )


def launch_key(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """What every try of a task instance has in common; -1 for one that is not mapped."""
    own = deployment()
    return f"airflow{own and '@'}{own}/{dag_id}/{run_id}/{task_id}/{map_index}"


def deployment() -> str:
    """What tells this Airflow from others that share the store: DAGs and runs of two may have the same ids.

    ``[hindsight] deployment``, else the address in ``[api] base_url``; empty where neither is set.
    """
    from airflow.providers.common.compat.sdk import conf

    given = str(conf.get("hindsight", "deployment", fallback="") or "").strip()
    address = urlsplit(str(conf.get("api", "base_url", fallback="") or ""))
    return given or f"{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"


def configured_store() -> dict[str, Any]:
    """The store that Airflow's own configuration names, where neither the environment does nor the caller.

    ``[hindsight] conn_id``, ``[hindsight] store``, or the connection ``hindsight_default`` where there is one.
    """
    if os.environ.get("HINDSIGHT_STORE"):
        return {}
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, conf

    conn_id = conf.get("hindsight", "conn_id", fallback="")
    store = conf.get("hindsight", "store", fallback="")
    if store and not conn_id:
        return {"store": store}
    try:
        url, options = store_of_connection(BaseHook.get_connection(conn_id or DEFAULT_CONN_ID))
    except AirflowNotFoundException:
        if conn_id:
            raise
        return {}
    return {"store": url, "storage_options": options}


def store_of_connection(connection: Any) -> tuple[str, dict[str, Any]]:
    """URL and options of a connection's store: its host, and ``storage_options`` of its extra.

    With ``aws_conn_id`` in the extra, keys and endpoint are those of that AWS connection.
    """
    from airflow.providers.common.compat.sdk import BaseHook

    extra = connection.extra_dejson
    options = dict(extra.get("storage_options") or {})
    if extra.get("aws_conn_id"):
        options = {**_aws_options(BaseHook.get_connection(extra["aws_conn_id"])), **options}
    if not connection.host:
        raise InputError(f"connection {connection.conn_id} names no store: its host must be a folder or a URL")
    return connection.host, options


def _aws_options(connection: Any) -> dict[str, Any]:
    extra = connection.extra_dejson
    region = extra.get("region_name")
    found = {
        "key": connection.login or extra.get("aws_access_key_id"),
        "secret": connection.password or extra.get("aws_secret_access_key"),
        "token": extra.get("aws_session_token"),
        "endpoint_url": extra.get("endpoint_url") or None,
        "client_kwargs": {"region_name": region} if region else None,
    }
    return {name: value for name, value in found.items() if value}


def without_own_objects(named: dict[str, Any]) -> dict[str, Any]:
    """Arguments without the objects of Airflow's context; parameters and results of mapped tasks as plain values."""
    return {name: _plain(value) for name, value in named.items() if not _is_own(value)}


def _is_own(value: Any) -> bool:
    kind = type(value)
    if (kind.__module__, kind.__name__) == ("builtins", "Proxy"):
        return True  # what Airflow 2 wraps the names of its context in that it deprecates
    ours = any(base.__module__.partition(".")[0] == "airflow" for base in kind.__mro__)
    return ours and kind.__name__ not in _PLAIN_FORMS


def _plain(value: Any) -> Any:
    form = _PLAIN_FORMS.get(type(value).__name__)
    return form(value) if form is not None and type(value).__module__.startswith("airflow.") else value


def adapt(decorated: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any | None:
    """What ``@task`` made, with its function wrapped; ``None`` for what is not Airflow's.

    A function that Airflow executes in another interpreter (``@task.virtualenv``) travels there as text and cannot be
    wrapped: it stays as it is.
    """
    if not getattr(type(decorated), "_airflow_is_task_decorator", False):
        return None
    if any(base.__name__ in _OTHER_INTERPRETER for base in decorated.operator_class.__mro__):
        return decorated
    import attr

    changed = attr.evolve(decorated, function=wrap(decorated.function), kwargs=dict(decorated.kwargs))
    for flag in _FLAGS:
        if hasattr(decorated, flag):
            setattr(changed, flag, getattr(decorated, flag))
    return changed


def status_of(exc: BaseException) -> Status | None:
    """A task that skips itself has finished; one that defers or reschedules itself goes on later."""
    names = (kind.__name__ for kind in type(exc).__mro__ if kind.__module__.startswith("airflow"))
    return next((_MEANING[name] for name in names if name in _MEANING), None)


def _context() -> Any | None:
    """The context of the task that is executed, without importing anything."""
    module = sys.modules.get("airflow.sdk.definitions._internal.contextmanager") or sys.modules.get(
        "airflow.models.taskinstance"  # Airflow 2
    )
    stack = getattr(module, "_CURRENT_CONTEXT", None)
    return stack[-1] if stack else None


def _url(ti: Any) -> str | None:
    """Where the task instance is seen in Airflow's pages, whichever try it is."""
    try:
        return mask_text(str(ti.log_url).partition("?try_number=")[0])
    except Exception:  # noqa: BLE001  a page's address is not worth a run
        return None
