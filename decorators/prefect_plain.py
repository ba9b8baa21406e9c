"""Prefect in a process that replays: calls of tasks and flows are calls of their functions, and no server is asked.

The values of such a task are not those of the run that is replayed; it is a place of its own, as it was then.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import inspect
import itertools
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tracker.decorators.places import Place

plain_place: ContextVar[Place | None] = ContextVar("hindsight_plain_place", default=None)
_count = itertools.count(1)
_is_installed = False


def call_plainly() -> None:
    """From now on, in this process. Once; doing it again changes nothing."""
    global _is_installed
    if _is_installed:
        return
    _is_installed = True
    from prefect.flows import Flow
    from prefect.tasks import Task

    Task.__call__, Task.submit, Task.map = _call, _submit, _map
    Flow.__call__ = _call
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).disabled = True  # then `get_run_logger` needs no run


def _call(self: Any, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any) -> Any:
    """The function's result; of a coroutine, what is to be awaited."""
    from prefect.utilities.callables import get_call_parameters

    parameters = get_call_parameters(self.fn, args, kwargs)
    if inspect.iscoroutinefunction(self.fn):
        return _awaited(self, parameters, return_state=return_state)
    if not return_state:
        return _execute(self, parameters)
    return _state(lambda: _execute(self, parameters))


async def _awaited(called: Any, parameters: dict[str, Any], *, return_state: bool) -> Any:
    with _placed(called):
        try:
            result = await _function(called, parameters)
        except Exception as exc:
            if not return_state:
                raise
            return _failed(exc)
    return _completed(result) if return_state else result


def _submit(self: Any, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any) -> Any:
    """A future that is done already."""
    from prefect.utilities.callables import get_call_parameters

    parameters = get_call_parameters(self.fn, args, kwargs)
    future = _done(self, parameters)
    return future.state if return_state else future


def _map(self: Any, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any) -> Any:
    from prefect.task_runners import TaskRunner
    from prefect.utilities.callables import get_call_parameters

    class InPlace(TaskRunner):  # type: ignore[misc]
        """Executes where it is asked to."""

        def duplicate(self) -> Any:
            return type(self)()

        def submit(self, task: Any, parameters: dict[str, Any], wait_for: Any = None, dependencies: Any = None) -> Any:
            return _done(task, parameters)

    parameters = get_call_parameters(self.fn, args, kwargs, apply_defaults=False)
    with InPlace() as runner:
        futures = runner.map(self, parameters)
    return [future.state for future in futures] if return_state else futures


def _done(task: Any, parameters: dict[str, Any]) -> Any:
    from prefect.futures import PrefectConcurrentFuture

    wrapped: concurrent.futures.Future[Any] = concurrent.futures.Future()
    wrapped.set_result(_state(lambda: _in_thread(task, parameters)))
    future = PrefectConcurrentFuture(uuid.uuid4(), wrapped)
    future.wait()
    return future


def _in_thread(task: Any, parameters: dict[str, Any]) -> Any:
    """A coroutine gets an event loop of its own, because the caller's is busy."""
    if not inspect.iscoroutinefunction(task.fn):
        result = _execute(task, parameters)
        return list(result) if inspect.isgenerator(result) else result
    import asyncio

    context = contextvars.copy_context()
    awaited = _awaited(task, parameters, return_state=False)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(context.run, asyncio.run, awaited).result()


def _execute(called: Any, parameters: dict[str, Any]) -> Any:
    with _placed(called):
        for left in range(int(getattr(called, "retries", 0) or 0), -1, -1):
            try:
                return _function(called, parameters)
            except Exception:
                if not left:
                    raise
    raise AssertionError("a call ends with a result or an exception")


def _function(called: Any, parameters: dict[str, Any]) -> Any:
    from prefect.utilities.callables import call_with_parameters
    from prefect.utilities.engine import resolve_inputs_sync

    return call_with_parameters(called.fn, resolve_inputs_sync(parameters))


@contextmanager
def _placed(called: Any) -> Iterator[None]:
    place = Place(engine="prefect", launch_key=f"prefect/replayed/{next(_count)}", name=called.name)
    token = plain_place.set(place)
    try:
        yield
    finally:
        plain_place.reset(token)


def _state(execute: Callable[[], Any]) -> Any:
    try:
        return _completed(execute())
    except Exception as exc:  # noqa: BLE001  a state holds it, as of any task
        return _failed(exc)


def _completed(result: Any) -> Any:
    from prefect.states import Completed, State

    return result if isinstance(result, State) else Completed(data=result)


def _failed(exc: Exception) -> Any:
    from prefect.states import Failed

    return Failed(data=exc, message=str(exc))
