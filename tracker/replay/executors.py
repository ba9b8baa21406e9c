"""Engines that execute the slices of a plan. Each runs `run_slice` on one number after the other, wherever it likes."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Protocol

from tracker.errors import BadSetting
from tracker.replay.documents import Plan, SliceResult
from tracker.replay.slices import run_slice
from tracker.store.base import Store

OnResult = Callable[[SliceResult], None]
_LEAST_PATIENCE_S = 3600.0


class Executor(Protocol):
    """Executes every slice of these numbers, and then returns.

    ``on_result`` is called with each result as it comes, from one thread at a time; ``storage_options`` are those of
    the store where they are not the settings'.
    """

    def __call__(
        self,
        store: Store,
        plan: Plan,
        numbers: Iterable[int],
        *,
        on_result: OnResult,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None: ...


# Where the function lies that is an engine's `Executor`.
_EXECUTORS = {
    "airflow": "tracker.operators.executor:execute_on_airflow",
    "local": "tracker.replay.executors:execute_locally",
    "prefect": "tracker.decorators.prefect_executor:execute_on_prefect",
    "slurm": "tracker.replay.slurm:execute_on_slurm",
}


def executor_named(name: str) -> Executor:
    """The engine of this name; ``BadSetting`` lists those there are."""
    place = _EXECUTORS.get(name)
    if place is None:
        raise BadSetting(f"there is no executor {name!r}: expected one of {', '.join(sorted(_EXECUTORS))}")
    module, _, function = place.partition(":")
    found: Executor = getattr(import_module(module), function)
    return found


def patience_s(plan: Plan) -> float:
    """How long to wait for one slice of a plan on an engine that may have lost it."""
    longest_s = max((piece.estimate_s for piece in plan.slices), default=0.0)
    return max(_LEAST_PATIENCE_S, plan.timeout_s + 300.0 if plan.timeout_s else 10.0 * longest_s)


def execute_locally(
    store: Store,
    plan: Plan,
    numbers: Iterable[int],
    *,
    on_result: OnResult,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Execute slices in processes of this machine, ``plan.workers`` at a time.

    Interrupting it ends the processes that run; their slices are done again next time.
    """
    with concurrent.futures.ThreadPoolExecutor(max(1, plan.workers), thread_name_prefix="hindsight-slice") as pool:
        waiting = [pool.submit(run_slice, store, plan, number, storage_options=storage_options) for number in numbers]
        try:
            for done in concurrent.futures.as_completed(waiting):
                on_result(done.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
