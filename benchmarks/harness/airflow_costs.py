"""What Hindsight costs in Airflow's processes. Executed by an interpreter that has Airflow; prints figures as JSON.

A task instance is a process that is forked from one that has imported Airflow, as a scheduler with the LocalExecutor
does it. The hooks are called as Airflow calls them, through its own manager, around the operator's own ``execute``.
"""

from __future__ import annotations

import json
import os
import runpy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TASKS, _CALLS, _PIECES = 9, 20_000, 10


def parse_ms(file: str) -> float:
    """Processor time of executing a DAG file in a process that has imported the SDK."""
    import airflow.sdk  # noqa: F401

    begin = time.process_time()
    runpy.run_path(file)
    return (time.process_time() - begin) * 1e3


def task_ms(*, preloaded: bool) -> dict[str, float]:
    """Medians over forked task instances with the listener, less those of the same ones without."""
    task, ti = _task_instance()
    from airflow.listeners.listener import get_listener_manager

    hooks = get_listener_manager().hook
    if preloaded:
        from airflow.jobs.job import Job

        sys.argv[1:2] = ["scheduler"]
        hooks.on_starting(component=Job.__new__(Job))

    def bare() -> None:
        task.execute({"ti": ti})

    def listened() -> None:
        hooks.on_task_instance_running(previous_state=None, task_instance=ti)
        task.execute({"ti": ti})
        hooks.on_task_instance_success(previous_state=None, task_instance=ti)
        hooks.before_stopping(component=None)

    rounds = [(_forked(bare), _forked(listened)) for _ in range(_TASKS)]
    wall = statistics.median(own[0] - without[0] for without, own in rounds)
    processor = statistics.median(own[1] - without[1] for without, own in rounds)
    return {"wall": wall * 1e3, "processor": processor * 1e3}


def nested_us() -> float:
    """A call of an empty tracked function in a task, less that of a bare one."""
    from tracker.decorators import tracked

    import tracker

    def empty() -> None:
        pass

    own = tracked(empty)
    found: list[float] = []

    @tracked
    def train() -> None:
        tracker.log("begun", 1)
        found.append(_call_us(own) - _call_us(empty))

    task, ti = _task_instance()
    task.python_callable = train
    from airflow.sdk.execution_time.context import set_current_context

    with set_current_context({"ti": ti}):
        task.execute({"ti": ti})
    return found[0]


def _task_instance() -> tuple[Any, Any]:
    from uuid import uuid4

    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.sdk import DAG
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def empty() -> int:
        return 1

    with DAG("costs", schedule=None):
        task = PythonOperator(task_id="empty", python_callable=empty, show_return_value_in_logs=False)
    about = {"id": uuid4(), "dag_id": "costs", "task_id": "empty", "run_id": f"manual__{time.time()}"}
    return task, RuntimeTaskInstance.model_construct(task=task, try_number=1, map_index=-1, **about)


def _forked(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds of a child that does this."""
    begin = time.perf_counter()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    assert status == 0, status
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime


def _call_us(function: Callable[[], Any]) -> float:
    pieces = []
    for _ in range(_PIECES):
        begin = time.perf_counter_ns()
        for _ in range(_CALLS // _PIECES):
            function()
        pieces.append((time.perf_counter_ns() - begin) / (_CALLS // _PIECES) / 1e3)
    return statistics.median(pieces)


def main() -> None:
    """One figure of one kind per process."""
    kind = sys.argv[1]
    if kind == "parse":
        found = {"processor": parse_ms(sys.argv[2])}
    elif kind == "task":
        found = task_ms(preloaded=sys.argv[2] == "preloaded")
    else:
        found = {"processor": nested_us()}
    Path("found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
