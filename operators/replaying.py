"""``HindsightReplayOperator``: one replay as one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException, conf
from tracker.operators.replay_tasks import StoreOperator

if TYPE_CHECKING:
    from tracker.replay.asking import Replay
    from tracker.store.base import Store


class HindsightReplayOperator(StoreOperator):
    """Ask past runs for values that they did not log, and wait for the answers; returns the state of every run.

    ``names`` stand in the code of ``repository`` at ``branch``; without names it asks what is new there since the last
    time. ``ignore`` names metrics that differ by nature, as seconds do. ``executor`` is where slices are
    executed: ``local`` (in this task) or another engine's name. Tried again, it does only what has no answer yet. To
    spread slices over Airflow's own workers, use ``hindsight_replay_dag``. With ``deferrable`` the triggerer follows
    what another engine executes, and no worker waits.

    ::

        HindsightReplayOperator(task_id="ask", names=["grad_norm"], where="lr > 1e-3",
                                repository="https://example.org/team/training.git")
    """

    template_fields: Sequence[str] = (
        *("names", "where", "iterations", "overrides", "ignore", "repository", "branch", "project", "store"),
    )

    def __init__(
        self,
        *,
        repository: str,
        names: Sequence[str] | str = (),
        branch: str = "main",
        where: str | None = None,
        iterations: Sequence[str] = (),
        overrides: Sequence[str] = (),
        ignore: Sequence[str] = (),
        project: str | None = None,
        store: str | None = None,
        executor: str = "local",
        workers: int = 1,
        max_runs: int | None = None,
        max_cpu_hours: float | None = None,
        timeout_s: float | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        # Airflow has an `executor` of its own, which says where the task itself is executed.
        super().__init__(**kwargs)
        self.repository, self.branch, self.names, self.where = repository, branch, names, where
        self.iterations, self.overrides, self.ignore = iterations, overrides, ignore
        self.project, self.store = project, store
        self.replay_executor, self.workers = executor, workers
        self.max_runs, self.max_cpu_hours, self.timeout_s = max_runs, max_cpu_hours, timeout_s
        self.deferrable = deferrable

    def execute(self, context: Any) -> dict[str, str]:
        """Fails when a run has no answer, or one that differs."""
        from tracker.operators.environment import importable_airflow
        from tracker.operators.hook import open_given

        from tracker.replay.asking import execute
        from tracker.replay.summary import watch_of
        from tracker.replay.unattended import plan_within, read_question, why_nothing

        store, options = open_given(self.store, self.hindsight_conn_id)
        asked = read_question(store, self._params())
        if asked is None:
            raise AirflowSkipException("no new probes")
        planned = plan_within(store, asked, self._params())
        left_out, watch = len(planned.later), watch_of(asked.probes, planned)
        if not planned.waiting:
            self.log.info("%s", why_nothing(planned))
        if self.deferrable and self.replay_executor != "local" and planned.waiting:
            self._defer(store, planned, {"left_out": left_out, "watch": watch})
        with importable_airflow():
            execute(store, planned, executor=self.replay_executor, storage_options=options)
        return self._tell(context["ti"], store, planned, left_out, watch)

    def resume(
        self, context: Any, event: Any = None, left_out: int = 0, watch: dict[str, Any] | None = None
    ) -> dict[str, str]:
        """Every slice has its answer, or will get none."""
        from tracker.operators.hook import open_given

        from tracker.replay.asking import read_replay

        if event["error"]:
            raise AirflowException(f"replay {event['replay']}: {event['error']}")
        store, _ = open_given(self.store, self.hindsight_conn_id)
        return self._tell(context["ti"], store, read_replay(store, event["replay"]), left_out, watch)

    def _defer(self, store: Store, planned: Replay, kept: dict[str, Any]) -> None:
        from tracker.operators.replay_trigger import ReplayTrigger

        from tracker.replay.planning import write_plan

        write_plan(store, planned.plan)
        trigger = ReplayTrigger(planned.id, self.replay_executor, store=self.store, conn_id=self.hindsight_conn_id)
        self.defer(trigger=trigger, method_name="resume", kwargs=kept)

    def _tell(
        self, ti: Any, store: Store, found: Replay, left_out: int, watch: dict[str, Any] | None
    ) -> dict[str, str]:
        """Leave the summary, remember what is answered, and fail where something is not, for good in the last try."""
        from tracker.replay.summary import markdown, settle

        states = {run.run: found.state(run) for run in found.plan.runs}
        text = markdown(found, states, left_out=left_out)
        self.log.info("%s", text)
        ti.xcom_push(key="summary", value=text)
        bad = [run for run, state in states.items() if state in ("failed", "waiting", "diverged")]
        if not bad or ti.try_number > ti.max_tries:
            settle(store, watch, failed=bool(bad))
        if bad:
            raise AirflowException(f"{len(bad)} runs have no exact answer: {', '.join(bad)}")
        return states

    def _params(self) -> dict[str, Any]:
        names = ("names", "repository", "branch", "where", "iterations", "overrides", "ignore", "project", "workers")
        return {name: getattr(self, name) for name in (*names, "max_runs", "max_cpu_hours", "timeout_s")}
