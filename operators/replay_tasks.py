"""The tasks of a replay DAG: plan, slices, verify, summary. Each knows only the store and the replay's id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
)

if TYPE_CHECKING:
    from tracker.replay.asking import Replay
    from tracker.store.base import Store

_MOST_TASKS = 500  # Airflow maps over 1024 at most


class StoreOperator(BaseOperator):  # type: ignore[misc]
    """An operator that works on a store: of a connection, or of the configuration."""

    hindsight_managed = True  # the listener leaves it alone

    def __init__(self, *, hindsight_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hindsight_conn_id = hindsight_conn_id

    def opened(self, context: Any) -> tuple[Store, dict[str, Any]]:
        """The store, and the options that reach it: that of the trigger form, else of the connection."""
        from tracker.operators.hook import open_given

        return open_given(context["params"].get("store"), self.hindsight_conn_id)


class PlanOperator(StoreOperator):
    """Find out what is asked, and plan it; returns groups of slice numbers. Skips when nothing is to be done.

    The plan is in the store when this returns, its id is XCom ``replay``. Doing it again plans what is still without
    an answer.
    """

    ui_color = "#e8f0fe"

    def __init__(self, *, defaults: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.defaults = defaults or {}

    def execute(self, context: Any) -> list[list[int]]:
        """Plan within the budget."""
        from tracker.operators.compat import variable

        from tracker.replay.planning import write_plan
        from tracker.replay.summary import settle, watch_of
        from tracker.replay.unattended import plan_within, read_question, why_nothing

        context["ti"].xcom_push(key="replay", value="")  # what verifies skips itself then, where Airflow would not
        store, _ = self.opened(context)
        params = {**self.defaults, **{name: value for name, value in context["params"].items() if value is not None}}
        if not params.get("repository"):
            params["repository"] = variable("hindsight_repository")
        if params.get("replay"):
            return self._given(context["ti"], store, str(params["replay"]))
        asked = read_question(store, params)
        if asked is None:
            raise AirflowSkipException("no new probes")
        planned = plan_within(store, asked, params)
        watch = watch_of(asked.probes, planned)
        for run in planned.plan.runs:
            self.log.info("%s: %s", run.run, run.skipped or f"{len(planned.plan.slices_of(run.run))} slices")
        if not planned.waiting:
            settle(store, watch, failed=False)
            raise AirflowSkipException(why_nothing(planned))
        write_plan(store, planned.plan)
        return self._tell(context["ti"], planned, watch)

    def _given(self, ti: Any, store: Store, replay: str) -> list[list[int]]:
        from tracker.replay.asking import read_replay

        found = read_replay(store, replay)
        if not found.waiting:
            raise AirflowSkipException(f"replay {replay} is done")
        return self._tell(ti, found)

    def _tell(self, ti: Any, planned: Replay, watch: dict[str, Any] | None = None) -> list[list[int]]:
        ti.xcom_push(key="replay", value=planned.id)
        ti.xcom_push(key="plan", value={"replay": planned.id, "left_out": len(planned.later), "watch": watch})
        return in_groups(planned.waiting)


def in_groups(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers of slices for one mapped task each; several where there are more than Airflow maps over."""
    count = min(len(numbers), _MOST_TASKS)
    return [list(numbers[start::count]) for start in range(count)]


class SliceOperator(StoreOperator):
    """Execute slices of a replay from the store alone. A slice that has an answer is not done again."""

    template_fields = ("replay", "numbers")
    ui_color = "#fff4d6"

    def __init__(self, *, replay: Any, numbers: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.replay, self.numbers = replay, numbers

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Fails, and is retried, when a slice has no answer in the end."""
        from tracker.operators.environment import importable_airflow

        from tracker.replay.planning import read_plan
        from tracker.replay.slices import DONE, run_slice

        store, options = self.opened(context)
        plan = read_plan(store, self.replay)
        with importable_airflow():
            results = [run_slice(store, plan, int(number), storage_options=options) for number in self.numbers]
        for result in results:
            told = [result.reason, result.output]
            self.log.info("slice %d: %s %s", result.number, result.outcome, "\n".join(filter(None, told)))
        failed = [f"slice {result.number}: {result.reason}" for result in results if result.outcome not in DONE]
        if failed:
            raise AirflowException("; ".join(failed))
        return [{"number": result.number, "fidelity": result.fidelity, "values": result.values} for result in results]


class VerifyOperator(StoreOperator):
    """Read back what the store has of a replay: the state of every run, by its id."""

    template_fields = ("replay",)
    ui_color = "#e3f6e3"

    def __init__(self, *, replay: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.replay = replay

    def execute(self, context: Any) -> dict[str, str]:
        """Also whether the segments with the answers are there."""
        from tracker.replay.asking import read_replay

        if not self.replay:
            raise AirflowSkipException("nothing was planned")
        store, _ = self.opened(context)
        found = read_replay(store, self.replay)
        states = {run.run: found.state(run) for run in found.plan.runs}
        for run in states:
            segments = [key for result in found.results_of(run) for key in result.segments]
            if not all(_exists(store, key) for key in segments):
                states[run] = "failed"
        return states


def _exists(store: Store, key: str) -> bool:
    from tracker.errors import KeyNotFound

    try:
        store.info(key)
    except KeyNotFound:
        return False
    return True


class SummaryOperator(StoreOperator):
    """Tell what came out, remember which probes are answered, and fail when some run is not.

    That failure is final: trying again would only read the same.
    """

    template_fields = ("plan", "states")
    ui_color = "#e3f6e3"

    def __init__(self, *, plan: Any, states: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan, self.states = plan, states

    def execute(self, context: Any) -> str:
        """Markdown; also ``summary`` in XCom, before this fails."""
        from tracker.replay.asking import read_replay
        from tracker.replay.summary import markdown, settle

        store, _ = self.opened(context)
        found = read_replay(store, self.plan["replay"])
        text = markdown(found, self.states or {}, left_out=self.plan["left_out"])
        self.log.info("%s", text)
        context["ti"].xcom_push(key="summary", value=text)
        bad = sorted(run for run, state in (self.states or {}).items() if state in ("failed", "waiting", "diverged"))
        settle(store, self.plan["watch"], failed=bool(bad) or not self.states)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {"replay": found.id, "states": self.states}
        if bad or not self.states:
            raise AirflowFailException(f"{len(bad)} runs have no exact answer: {', '.join(bad)}\n{text}")
        return text
