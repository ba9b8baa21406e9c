"""The replay executor ``airflow`` on a running Airflow: what holds for every executor, as far as it is told apart."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tracker.operators.executor import DAG_VARIABLE
from tracker.operators.replay_trigger import ReplayTrigger
from tracker.operators.rest import AirflowApi

from tests.airflow.server import Airflow
from tests.replay.executor_contract import ExecutorContract, planned, programs, shut, wait_for
from tests.replay.programs import Project
from tracker.errors import BadSetting
from tracker.replay.planning import write_plan

REPLAY = """
from tracker.operators import hindsight_replay_dag  # Airflow reads files that name it
from datetime import timedelta
dag = hindsight_replay_dag("hindsight_replay", retries=1, retry_delay=timedelta(seconds=1), max_active_runs=4)
"""


class TestContract(ExecutorContract):
    """Every promise of executors."""

    executor = "airflow"

    @pytest.fixture
    def engine(self, airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its address; no login is needed, as everybody is an admin."""
        airflow.add("hindsight_replay.py", REPLAY)
        airflow.known("hindsight_replay")
        monkeypatch.setenv("HINDSIGHT_AIRFLOW_URL", airflow.url)

    def test_a_trigger_that_is_ended_follows_no_more(self, project: Project) -> None:
        """Its thread ends although the replay goes on, as when a person ends a task that waits for it."""
        shut(project)
        replay = planned(project)
        write_plan(project.store, replay.plan)

        def followers() -> list[threading.Thread]:
            return [thread for thread in threading.enumerate() if thread.name == f"replay-{replay.id}"]

        async def begin_and_end() -> None:
            trigger = ReplayTrigger(replay.id, self.executor, store=str(project.url))
            waiting = asyncio.ensure_future(anext(trigger.run()))
            await asyncio.to_thread(wait_for, lambda: programs(project), "no program begins")
            assert followers()
            waiting.cancel()
            await asyncio.wait([waiting])

        asyncio.run(begin_and_end())
        wait_for(lambda: not followers(), "the thread goes on")

    def test_a_paused_dag_is_told(self, airflow: Airflow, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its runs would wait for ever."""
        airflow.add("resting.py", REPLAY.replace('"hindsight_replay"', '"resting"'))
        airflow.known("resting")
        airflow.ask("PATCH", "/api/v2/dags/resting", {"is_paused": True})
        monkeypatch.setenv(DAG_VARIABLE, "resting")

        with pytest.raises(BadSetting, match=r"'resting' .* is paused"):
            self.execute(planned(project), project)


def test_a_token_that_is_not_taken_any_more(airflow: Airflow) -> None:
    """Another is fetched, also where no user is needed."""
    airflow.add("hindsight_replay.py", REPLAY)
    airflow.known("hindsight_replay")
    api = AirflowApi(airflow.url)
    api.token = "expired"

    api.check("hindsight_replay")

    assert api.token != "expired"
