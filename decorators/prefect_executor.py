"""The replay executor ``prefect``: slices are tasks of a flow run, of a deployment or in this process."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from tracker.decorators.prefect_stores import hand_over

from tracker.errors import BadSetting, HindsightError, MissingExtra, Unavailable
from tracker.replay.documents import Plan
from tracker.replay.executors import OnResult, patience_s
from tracker.replay.following import follow
from tracker.secrets import mask_text
from tracker.store import keys
from tracker.store.base import Store

DEPLOYMENT_VARIABLE = "HINDSIGHT_PREFECT_DEPLOYMENT"
_WAITED_S = 120.0  # by a flow run for its deployment to be served, before that is told


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
    reaches the store with what is configured there. A flow run whose process has died is followed until it was silent
    for as long as a slice may take; asked again, another one is started. Without a deployment the flow runs in this
    process.
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
        with _server(), hand_over(store, given):
            execute_slices(replay=plan.replay, numbers=numbers, store=store.url)
    finally:
        on_slice.reset(token)


def _run_there(store: Store, plan: Plan, numbers: Iterable[int], on_result: OnResult, deployment: str) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flow_run = _FlowRun(client, deployment, store, plan)
        follow(store, plan.replay, numbers, is_over=flow_run.is_over, on_result=on_result, lost=flow_run.lost)


class _FlowRun:
    """A flow run that is at work on a replay, or a new one where all earlier ones have ended.

    One that says it is running, and of which nothing was seen for as long as a slice may take, has lost its process: it
    is taken for ended. One that is scheduled waits for somebody to serve its deployment, which is told once.
    """

    def __init__(self, client: Any, deployment: str, store: Store, plan: Plan) -> None:
        self.client, self.deployment, self.store, self.plan = client, deployment, store, plan
        self.is_silent, self.seen = False, 0.0  # when the last result came
        self.told: set[str] = set()
        with _server():
            self.id = self._begun(self._deployment_id())

    def is_over(self) -> bool:
        """``Unavailable`` while the server does not answer."""
        from prefect.exceptions import ObjectNotFound

        try:
            with _server():
                return self._is_done(self.client.read_flow_run(self.id))
        except ObjectNotFound:  # somebody has deleted it
            return True

    def lost(self, slices: str) -> str:
        """What to say of slices without a result."""
        run = f"flow run {self.id} of {self.deployment}"
        if self.is_silent:
            return f"{run} has given no sign of life for {_minutes(patience_s(self.plan))}: asking again starts another"
        return (
            f"{run} has ended without a result of slices {slices}: see its logs; it must have access to "
            f"{self.store.url}"
        )

    def _deployment_id(self) -> UUID:
        from prefect.exceptions import ObjectNotFound

        try:
            return UUID(str(self.client.read_deployment_by_name(self.deployment).id))
        except (ObjectNotFound, ValueError) as exc:
            raise BadSetting(
                f"{DEPLOYMENT_VARIABLE} is {self.deployment!r}: expected hindsight_replay/NAME of a deployment that is "
                "served"
            ) from exc

    def _begun(self, deployment: UUID) -> UUID:
        count = 1
        while True:
            flow_run = self.client.create_flow_run_from_deployment(
                deployment,
                parameters={"replay": self.plan.replay, "store": self.store.url, "names": None},
                idempotency_key=f"hindsight/{self.plan.replay}/{deployment}/{count}",
                tags=["hindsight"],
            )
            if not self._is_done(flow_run):
                self.is_silent = False
                return UUID(str(flow_run.id))
            count += 1

    def _is_done(self, flow_run: Any) -> bool:
        state = flow_run.state
        if state is None or state.is_final():
            return state is not None
        began = state.timestamp.timestamp()
        if state.is_scheduled():
            self._tell_of_waiting(flow_run, time.time() - began)
            return False
        limit_s = patience_s(self.plan)
        if time.time() - max(began, self.seen) > limit_s:
            results = self.store.list(f"{keys.replay_folder(self.plan.replay)}slices/")
            self.seen = max((info.modified or 0.0 for info in results), default=0.0)
            self.is_silent = time.time() - max(began, self.seen) > limit_s
        return self.is_silent

    def _tell_of_waiting(self, flow_run: Any, waited_s: float) -> None:
        if waited_s > _WAITED_S and flow_run.state.name not in self.told:
            self.told.add(flow_run.state.name)
            warnings.warn(
                f"flow run {flow_run.id} is {flow_run.state.name} for {_minutes(waited_s)}: it waits for somebody to "
                f"serve {self.deployment}",
                stacklevel=2,
            )


@contextmanager
def _server() -> Iterator[None]:
    import httpx

    try:
        yield
    except (httpx.HTTPError, RuntimeError) as exc:
        error = exc.__cause__ if isinstance(exc, RuntimeError) else exc
        if not isinstance(error, httpx.HTTPError):
            raise
        if isinstance(error, httpx.HTTPStatusError) and _is_refusal(error.response.status_code):
            answer = mask_text(f"{error.response.status_code} {error.response.text:.300}")
            raise HindsightError(
                f"the Prefect server refuses {error.request.method} {error.request.url.path}: {answer}; where it does "
                "not know you, see PREFECT_API_URL and PREFECT_API_KEY (or PREFECT_API_AUTH_STRING)"
            ) from exc
        raise Unavailable(f"the Prefect server does not answer: {type(exc).__name__}: {exc}") from exc


def _is_refusal(status: int) -> bool:
    """Whether asking again would be answered in the same way."""
    return 400 <= status < 500 and status not in (408, 429)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes"
