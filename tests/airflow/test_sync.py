"""``SyncOperator`` in a task that Airflow executes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tracker
from tests.airflow.flows import Flows


def test_runs_are_brought_to_another_store(flows: Flows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the DAG file that is ready to use; the second time nothing moves."""
    connection = {"conn_type": "hindsight", "host": str(tmp_path / "remote")}
    monkeypatch.setenv("AIRFLOW_CONN_HINDSIGHT_REMOTE", json.dumps(connection))
    with tracker.run("first", store=str(flows.store_folder), capture=()):
        tracker.log("loss", 0.5)
    text = (Path(__file__).parents[2] / "dags" / "sync_store.py").read_text() + "\nflow = dag\n"

    assert flows.test(text) == {"sync": "success"}
    assert flows.test(text) == {"sync": "success"}

    assert tracker.dataframe("loss", store=str(tmp_path / "remote"))["loss"].tolist() == [0.5]
