"""A DAG that asks past runs: what is new on a branch, on a schedule, or what somebody types into the trigger form."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param
from tracker.operators.assets import replay_asset
from tracker.operators.compat import after_all
from tracker.operators.replay_tasks import PlanOperator, SliceOperator, SummaryOperator, VerifyOperator

_DOC = """
Puts log statements that are new on a branch into the code of past runs, executes what is needed from their
checkpoints, and files the values beside the old ones. Without `names` it looks at the branch for names that were
neither asked nor logged before; the store remembers what was.
"""


def hindsight_replay_dag(
    dag_id: str = "hindsight_replay",
    *,
    schedule: Any = None,
    repository: str | None = None,
    branch: str = "main",
    project: str | None = None,
    ignore: Sequence[str] = (),
    hindsight_conn_id: str | None = None,
    max_runs: int | None = 100,
    max_cpu_hours: float | None = None,
    workers: int = 4,
    retries: int = 1,
    retry_delay: timedelta = timedelta(seconds=30),
    slice_arguments: dict[str, Any] | None = None,
    **dag_arguments: Any,
) -> Any:
    """The DAG; every argument but the first three can be changed in the trigger form of a run.

    ``repository`` is a folder or address of git (default: the Variable ``hindsight_repository``), ``ignore`` names
    metrics that differ by nature, as seconds do, and are not compared, ``workers`` for how many runs are cut into
    slices, ``slice_arguments`` are those of the mapped operator (``pool``, ``queue``, ``max_active_tis_per_dag``,
    ``executor_config`` …): how many slices work at a time is Airflow's to say.

    ::

        from tracker.operators import hindsight_replay_dag

        dag = hindsight_replay_dag(schedule="@hourly", repository="https://example.org/team/training.git")
    """
    defaults = {
        "repository": repository,
        "branch": branch,
        "project": project,
        "ignore": list(ignore),
        "max_runs": max_runs,
        "max_cpu_hours": max_cpu_hours,
        "workers": workers,
    }
    common: dict[str, Any] = {"hindsight_conn_id": hindsight_conn_id, "retries": retries, "retry_delay": retry_delay}
    given = {"catchup": False, "max_active_runs": 1, "tags": ["hindsight"], "doc_md": _DOC, **dag_arguments}
    start = given.pop("start_date", datetime(2024, 1, 1, tzinfo=UTC))
    with DAG(dag_id, schedule=schedule, start_date=start, params=_form(defaults), **given) as dag:
        plan = PlanOperator(task_id="plan", defaults=defaults, **common)
        slices = SliceOperator.partial(
            task_id="slice",
            replay=plan.output["replay"],
            **common | (slice_arguments or {}),
        ).expand(numbers=plan.output)
        verify = VerifyOperator(task_id="verify", replay=plan.output["replay"], trigger_rule=after_all(), **common)
        summary = SummaryOperator(
            task_id="summary", plan=plan.output["plan"], states=verify.output, outlets=[replay_asset(dag_id)], **common
        )
        slices >> verify >> summary
    return dag


def _form(defaults: dict[str, Any]) -> dict[str, Any]:
    """What the trigger form shows."""

    def text(default: Any, title: str, **more: Any) -> Any:
        return Param(default, type=["null", "string"], title=title, **more)

    return {
        "names": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            title="Names",
            description="What past runs are asked for; one per line. Empty: what is new on the branch.",
        ),
        "where": text(None, "Which runs", description="For example: lr > 1e-3"),
        "iterations": Param(
            None, type=["null", "array"], items={"type": "string"}, title="Iterations", description="epoch=0,5,10-19"
        ),
        "overrides": Param(
            None, type=["null", "array"], items={"type": "string"}, title="Changed arguments", description="lr=0.01"
        ),
        "ignore": Param(
            defaults["ignore"] or None,
            type=["null", "array"],
            items={"type": "string"},
            title="Not compared",
            description="Metrics that differ by nature, as seconds do",
        ),
        "repository": text(defaults["repository"], "Repository", description="A folder or an address of git"),
        "branch": text(defaults["branch"], "Branch"),
        "project": text(defaults["project"], "Project", description="Only runs of this project"),
        "max_runs": Param(defaults["max_runs"], type=["null", "integer"], minimum=1, title="At most so many runs"),
        "max_cpu_hours": Param(
            defaults["max_cpu_hours"], type=["null", "number"], minimum=0, title="At most so many hours of work"
        ),
        "workers": Param(
            defaults["workers"],
            type=["null", "integer"],
            minimum=1,
            title="Cut for so many workers",
            description="How many slices work at a time, Airflow's own limits say",
        ),
        "store": text(None, "Store", description="Default: that of the connection"),
        "replay": text(None, "Replay", description="A planned replay in the store: its slices are executed"),
    }
