"""``@tracked``: one execution of a function is one run, in plain Python, Airflow, Prefect and Slurm jobs."""

from typing import TYPE_CHECKING, Any

from tracker.decorators.tracking import tracked

if TYPE_CHECKING:
    from tracker.decorators.submitit_executor import TrackedExecutor

__all__ = ["TrackedExecutor", "tracked"]


def __getattr__(name: str) -> Any:
    """``TrackedExecutor`` needs submitit, which is imported for those who ask for it."""
    if name != "TrackedExecutor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tracker.decorators.submitit_executor import TrackedExecutor

    return TrackedExecutor
