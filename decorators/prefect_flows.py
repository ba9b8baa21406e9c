"""The flow ``hindsight_replay``: past runs are asked for what is new on a branch, each slice as a task of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.types.entrypoint import EntrypointType
from tracker.decorators.prefect_stores import open_given

from tracker.errors import HindsightError, Unavailable
from tracker.replay.asking import Replay, read_replay
from tracker.replay.documents import Plan, SliceResult
from tracker.replay.planning import read_plan, write_plan
from tracker.replay.slices import DONE, run_slice
from tracker.replay.summary import markdown, settle, watch_of
from tracker.replay.unattended import plan_within, read_question, why_nothing
from tracker.store import keys
from tracker.store.base import Store

on_slice: ContextVar[Callable[[SliceResult], None] | None] = ContextVar("hindsight_on_slice", default=None)
_telling = threading.Lock()


class SliceFailed(HindsightError):
    """A slice has no answer, for a reason that trying again does not mend."""


def _may_be_mended(task: Any, task_run: Any, state: Any) -> bool:
    """Whether trying again may help: the store was away, or this machine had a problem."""
    try:
        state.result()
    except (Unavailable, OSError):
        return True
    except BaseException:  # noqa: BLE001  told by the task itself
        return False
    return False


@task(  # type: ignore[untyped-decorator]
    name="hindsight_slice",
    task_run_name="slice-{number}",
    retries=3,
    retry_delay_seconds=[2, 10, 60],
    retry_condition_fn=_may_be_mended,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def execute_slice(number: int, replay: str, store: str | None = None, block: str | None = None) -> dict[str, Any]:
    """Execute one slice of a replay from the store alone; one that has an answer is not done again."""
    opened, options = open_given(store, block)
    result = run_slice(opened, read_plan(opened, replay), number, storage_options=options)
    tell = on_slice.get()
    if tell is not None:
        with _telling:
            tell(result)
    if result.outcome not in DONE:
        raise SliceFailed(f"slice {number} {result.outcome}: {result.reason}\n{result.output}".rstrip())
    return {"run": result.run, "fidelity": result.fidelity, "values": result.values, "seconds": result.duration_s}


@flow(name="hindsight_replay")  # type: ignore[untyped-decorator]
def hindsight_replay(
    names: list[str] | None = None,
    repository: str | None = None,
    branch: str = "main",
    where: str | None = None,
    iterations: list[str] | None = None,
    overrides: list[str] | None = None,
    ignore: list[str] | None = None,
    project: str | None = None,
    max_runs: int | None = None,
    max_cpu_hours: float | None = None,
    workers: int = 4,
    timeout_s: float | None = None,
    environment: str = "current",
    replay: str | None = None,
    store: str | None = None,
    block: str | None = None,
) -> dict[str, str]:
    """Ask past runs for values that they did not log; the state of every run that was asked, by its id.

    Without ``names``: what is new on the branch since the last time. ``ignore`` names metrics that differ
    by nature, as seconds do. ``replay`` executes one that is planned already.
    Slices are tasks that know only the store; the flow fails when some run has no exact answer, after all others have
    theirs. Running it again does what is left.
    """
    params = {name: value for name, value in locals().items() if value is not None}
    opened, _ = open_given(store, block)
    log = get_run_logger()
    watch = None
    if replay is not None:
        planned = read_replay(opened, replay)
    else:
        asked = read_question(opened, params)
        if asked is None:
            log.info("nothing is new on %s", branch)
            return {}
        planned = plan_within(opened, asked, params)
        watch = watch_of(asked.probes, planned)
    if planned.waiting:
        write_plan(opened, planned.plan)
        _execute(planned.plan, planned.waiting, opened.url, block)
    else:
        log.info("%s", why_nothing(planned))
    return _tell(opened, planned, watch)


@flow(name="hindsight_slices", flow_run_name="replay-{replay}")  # type: ignore[untyped-decorator]
def execute_slices(replay: str, numbers: list[int], store: str | None = None, block: str | None = None) -> None:
    """Execute these slices of a replay that is planned. What has no answer is told by its task, and stops no other."""
    opened, _ = open_given(store, block)
    _execute(read_plan(opened, replay), numbers, opened.url, block)


def _execute(plan: Plan, numbers: list[int], store: str, block: str | None) -> None:
    """All slices, ``plan.workers`` at a time. Raises what kept the store from being used, once the others are done."""
    with ThreadPoolTaskRunner(max_workers=max(1, plan.workers)) as runner:
        tasks = [
            runner.submit(execute_slice, {"number": number, "replay": plan.replay, "store": store, "block": block})
            for number in numbers
        ]
        for each in tasks:
            each.wait()
    for each in tasks:
        result = each.state.result(raise_on_failure=False)
        if isinstance(result, BaseException) and not isinstance(result, SliceFailed):
            raise result


def _tell(store: Store, planned: Replay, watch: dict[str, Any] | None) -> dict[str, str]:
    """Leave artifacts on the flow run's page, and remember what was asked."""
    found = read_replay(store, planned.id) if planned.plan.slices else planned
    states = {run.run: found.state(run) for run in found.plan.runs}
    bad = sorted(run for run, state in states.items() if state in ("failed", "waiting", "diverged"))
    if found.plan.runs:
        _leave_artifacts(store, found, states, len(planned.later))
    settle(store, watch, failed=bool(bad))
    if bad:
        raise SliceFailed(f"{len(bad)} of {len(states)} runs have no answer that is right: {', '.join(bad)}")
    return states


def _leave_artifacts(store: Store, found: Replay, states: dict[str, str], left_out: int) -> None:
    key = f"hindsight-replay-{found.id}"
    about = f"Asked: {', '.join(found.plan.question.names)}"
    rows = [
        {
            "run": run.run,
            "state": states[run.run],
            "values": sum(result.values for result in found.results_of(run.run)),
            "reason": "; ".join(dict.fromkeys(filter(None, [run.skipped, *_reasons(found, run.run)]))),
        }
        for run in found.plan.runs
    ]
    create_table_artifact(rows, key=f"{key}-runs", description=about)
    create_markdown_artifact(markdown(found, states, left_out=left_out), key=key, description=about)
    link = f"{store.url.rstrip('/')}/{keys.replay_plan(found.id)}"
    create_link_artifact(link, link_text="the plan in the store", key=f"{key}-plan", description=about)


def _reasons(found: Replay, run: str) -> list[str]:
    return [result.reason for result in found.results_of(run)]


def serve_hindsight_replay(
    repository: str,
    branch: str = "main",
    *,
    name: str = "hindsight-replay",
    cron: str | None = "0 6 * * *",
    **parameters: Any,
) -> None:
    """Serve the flow: on this schedule, ask what is new on the branch. Blocks, and executes flow runs in processes.

    ``parameters`` are those of the flow, such as ``block``, ``max_runs`` or ``workers``. The processes import the
    script that calls this, so the call stands below ``if __name__ == "__main__":``.
    """
    hindsight_replay.serve(
        name=name,
        cron=cron,
        parameters={"repository": repository, "branch": branch, **parameters},
        description="Asks past runs what was added to the code since.",
        tags=["hindsight"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
