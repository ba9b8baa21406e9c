"""The replay executor ``airflow`` on a running Airflow: what holds for every executor, as far as it is told apart."""

from __future__ import annotations

import pytest

from tests.airflow.server import Airflow
from tests.replay.executor_contract import ExecutorContract

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
