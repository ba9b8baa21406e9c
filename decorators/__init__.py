"""``@tracked``: one execution of a function is one run, in plain Python, Airflow, Prefect and Slurm jobs."""

from tracker.decorators.tracking import tracked

__all__ = ["tracked"]
