"""The replay executor ``airflow``: slices are mapped tasks of the replay DAG, started through Airflow's REST API."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tracker.operators.rest import AirflowApi

from tracker.replay.documents import Plan
from tracker.replay.executors import OnResult
from tracker.replay.following import follow
from tracker.store.base import Store

DAG_VARIABLE = "HINDSIGHT_AIRFLOW_DAG"


def execute_on_airflow(
    store: Store,
    plan: Plan,
    numbers: Iterable[int],
    *,
    on_result: OnResult,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Let Airflow execute the slices, and follow what becomes of them in the store.

    The run of the DAG is named after the replay: whoever asks for the same one follows it, and a killed caller leaves
    it at work. ``storage_options`` stay here; Airflow has those of its connection.
    """
    api, dag = AirflowApi.from_environment(), os.environ.get(DAG_VARIABLE, "hindsight_replay")
    api.check(dag)
    run = _begin(api, dag, plan.replay, store.url)
    follow(
        store,
        plan.replay,
        numbers,
        is_over=lambda: api.state(dag, run) in ("success", "failed"),
        on_result=on_result,
        lost=lambda listed: (
            f"Airflow has ended run {run} of {dag} without a result of slices {listed}: see its logs; its "
            f"connection must lead to {store.url}"
        ),
    )


def _begin(api: AirflowApi, dag: str, replay: str, store_url: str) -> str:
    """The id of the DAG's run: one that is at work, or a new one where all earlier ones have ended."""
    count = 1
    while True:
        run = f"replay__{replay}" + (f"__{count}" if count > 1 else "")
        if api.trigger(dag, run, {"replay": replay, "store": store_url}) or api.state(dag, run) in (
            "queued",
            "running",
        ):
            return run
        count += 1
