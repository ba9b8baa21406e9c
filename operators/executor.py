"""The replay executor ``airflow``: slices are mapped tasks of the replay DAG, started through Airflow's REST API."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tracker.operators.rest import AirflowApi

from tracker.errors import HindsightError, Unavailable
from tracker.replay.documents import Plan, SliceResult
from tracker.replay.executors import OnResult
from tracker.replay.slices import DONE, read_result
from tracker.store.base import Store

DAG_VARIABLE = "HINDSIGHT_AIRFLOW_DAG"
_POLL_S = 1.0
_PATIENCE_S = 600.0  # with an API server that does not answer, while Airflow works


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
    following = _Following(store, plan.replay, set(numbers), on_result)
    run = _begin(api, dag, plan.replay, store.url)
    deadline = time.monotonic() + _PATIENCE_S
    while following.waiting:
        try:
            ended = api.state(dag, run) in ("success", "failed")
            deadline = time.monotonic() + _PATIENCE_S
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            ended = False
        following.look(final=ended)
        if ended and following.waiting:
            listed = ", ".join(map(str, sorted(following.waiting)))
            raise HindsightError(
                f"Airflow has ended run {run} of {dag} without a result of slices {listed}: see its logs; its "
                f"connection must lead to {store.url}"
            )
        if following.waiting:
            time.sleep(_POLL_S)


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


class _Following:
    """Tells every result once: an answer as it comes, a failure when nothing will mend it any more."""

    def __init__(self, store: Store, replay: str, waiting: set[int], on_result: OnResult) -> None:
        self.store, self.replay, self.waiting, self.on_result = store, replay, waiting, on_result

    def look(self, *, final: bool) -> None:
        """Read what is new."""
        for number in sorted(self.waiting):
            result: SliceResult | None = read_result(self.store, self.replay, number)
            if result is not None and (final or result.outcome in DONE):
                self.waiting.discard(number)
                self.on_result(result)
