"""The replay executor ``prefect``: slices are tasks of a flow run, of a deployment or in this process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from tracker.decorators.prefect_stores import hand_over

from tracker.errors import BadSetting, MissingExtra, Unavailable
from tracker.replay.documents import Plan
from tracker.replay.executors import OnResult
from tracker.replay.following import follow
from tracker.store.base import Store

DEPLOYMENT_VARIABLE = "HINDSIGHT_PREFECT_DEPLOYMENT"


def execute_on_prefect(
    store: Store,
    plan: Plan,
    numbers: Iterable[int],
    *,
    on_result: OnResult,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Let Prefect execute the slices.

    ``HINDSIGHT_PREFECT_DEPLOYMENT`` names a deployment of ``hindsight_replay`` (``hindsight_replay/NAME``): a flow run
    of it is started, or followed where one is at work on the same replay, and a killed caller leaves it at work. It
    reaches the store with what is configured there. Without a deployment the flow runs in this process.
    """
    try:
        import prefect  # noqa: F401
    except ImportError as exc:
        raise MissingExtra("the executor prefect needs Prefect: pip install 'hindsight-tracker[prefect]'") from exc
    deployment = os.environ.get(DEPLOYMENT_VARIABLE)
    if deployment:
        _run_there(store, plan, numbers, on_result, deployment)
    else:
        _run_here(store, plan, sorted(set(numbers)), on_result, storage_options)


def _run_here(
    store: Store, plan: Plan, numbers: list[int], on_result: OnResult, options: Mapping[str, Any] | None
) -> None:
    from tracker.decorators.prefect_flows import execute_slices, on_slice

    from tracker.code.project import project_root
    from tracker.config import load_settings

    given = load_settings(project_root()).storage_options if options is None else options
    token = on_slice.set(on_result)
    try:
        with hand_over(store, given):
            execute_slices(replay=plan.replay, numbers=numbers, store=store.url)
    finally:
        on_slice.reset(token)


def _run_there(store: Store, plan: Plan, numbers: Iterable[int], on_result: OnResult, deployment: str) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flow_run = _begin(client, deployment, plan.replay, store.url)
        follow(
            store,
            plan.replay,
            numbers,
            is_over=lambda: _is_over(client, flow_run),
            on_result=on_result,
            lost=lambda listed: (
                f"flow run {flow_run} of {deployment} has ended without a result of slices {listed}: see its logs; "
                f"it must have access to {store.url}"
            ),
        )


def _begin(client: Any, deployment: str, replay: str, store_url: str) -> UUID:
    """A flow run that is at work on the replay, or a new one where all earlier ones have ended."""
    from prefect.exceptions import ObjectNotFound

    try:
        found = client.read_deployment_by_name(deployment)
    except (ObjectNotFound, ValueError) as exc:
        raise BadSetting(
            f"{DEPLOYMENT_VARIABLE} is {deployment!r}: expected hindsight_replay/NAME of a deployment that is served"
        ) from exc
    count = 1
    while True:
        flow_run = client.create_flow_run_from_deployment(
            found.id,
            parameters={"replay": replay, "store": store_url, "names": None},
            idempotency_key=f"hindsight/{replay}/{count}",
            tags=["hindsight"],
        )
        if flow_run.state is None or not flow_run.state.is_final():
            return UUID(str(flow_run.id))
        count += 1


def _is_over(client: Any, flow_run: UUID) -> bool:
    """``Unavailable`` while the server does not answer."""
    import httpx

    try:
        state = client.read_flow_run(flow_run).state
    except httpx.HTTPError as exc:
        raise Unavailable(f"the Prefect server does not answer: {type(exc).__name__}: {exc}") from exc
    return state is not None and state.is_final()
