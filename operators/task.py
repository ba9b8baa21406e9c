"""``@task.tracked``: a task whose every execution is a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tracker.decorators.tracking import tracked


def tracked_task(
    python_callable: Callable[..., Any] | None = None,
    multiple_outputs: bool | None = None,
    tracking: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """As ``@task``, with the function tracked. ``tracking`` are options of ``@tracked``; all others are the task's.

    ::

        @task.tracked(retries=2, tracking={"store": "s3://bucket/runs"})
        def train(lr): ...
    """
    from airflow.providers.common.compat.sdk import task_decorator_factory
    from airflow.providers.standard.decorators.python import _PythonDecoratedOperator

    class TrackedTask(_PythonDecoratedOperator):  # type: ignore[misc]
        """A task of a Python function whose executions are runs."""

        custom_operator_name = "@task.tracked"

    def decorate(function: Callable[..., Any]) -> Any:
        return task_decorator_factory(
            python_callable=tracked(**(tracking or {}))(function),
            multiple_outputs=multiple_outputs,
            decorated_operator_class=TrackedTask,
            **kwargs,
        )

    return decorate if python_callable is None else decorate(python_callable)
