"""``HindsightReplayOperator``: one replay as one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException
from tracker.operators.replay_tasks import StoreOperator


class HindsightReplayOperator(StoreOperator):
    """Ask past runs for values that they did not log, and wait for the answers; returns the state of every run.

    ``names`` stand in the code of ``repository`` at ``branch``; without names it asks what is new there since the last
    time. ``ignore`` names metrics that differ by nature, as seconds do. ``executor`` is where slices are
    executed: ``local`` (in this task) or another engine's name. Tried again, it does only what has no answer yet. To
    spread slices over Airflow's own workers, use ``hindsight_replay_dag``.

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
        **kwargs: Any,
    ) -> None:
        # Airflow has an `executor` of its own, which says where the task itself is executed.
        super().__init__(**kwargs)
        self.repository, self.branch, self.names, self.where = repository, branch, names, where
        self.iterations, self.overrides, self.ignore = iterations, overrides, ignore
        self.project, self.store = project, store
        self.replay_executor, self.workers = executor, workers
        self.max_runs, self.max_cpu_hours, self.timeout_s = max_runs, max_cpu_hours, timeout_s

    def execute(self, context: Any) -> dict[str, str]:
        """Fails when a run has no answer, or one that differs."""
        from tracker.operators.environment import importable_airflow
        from tracker.operators.hook import open_given

        from tracker.replay.asking import execute
        from tracker.replay.summary import markdown
        from tracker.replay.unattended import plan_within, read_question
        from tracker.replay.watching import settle_probes

        store, options = open_given(self.store, self.hindsight_conn_id)
        asked = read_question(store, self._params())
        if asked is None:
            raise AirflowSkipException("no new probes")
        planned, left_out = plan_within(store, asked, self._params())
        with importable_airflow():
            execute(store, planned, executor=self.replay_executor, storage_options=options)
        states = {run.run: planned.state(run) for run in planned.plan.runs}
        text = markdown(planned, states, left_out=left_out)
        self.log.info("%s", text)
        context["ti"].xcom_push(key="summary", value=text)
        bad = [run for run, state in states.items() if state in ("failed", "waiting", "diverged")]
        if asked.probes is not None:
            settle_probes(store, asked.probes, answered=not bad and not left_out)
        if bad:
            raise AirflowException(f"{len(bad)} runs have no exact answer: {', '.join(bad)}")
        return states

    def _params(self) -> dict[str, Any]:
        names = ("names", "repository", "branch", "where", "iterations", "overrides", "ignore", "project", "workers")
        return {name: getattr(self, name) for name in (*names, "max_runs", "max_cpu_hours", "timeout_s")}
