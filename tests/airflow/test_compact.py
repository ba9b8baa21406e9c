"""``CompactOperator`` in a task that Airflow executes."""

from __future__ import annotations

from pathlib import Path

import tracker
from tests.airflow.flows import Flows
from tracker.read.indexed import scan_index
from tracker.store.open import open_store


def test_a_store_is_compacted(flows: Flows) -> None:
    """By the DAG file that is ready to use."""
    with tracker.run("first", store=str(flows.store_folder), capture=()):
        tracker.log("loss", 0.5)
    text = (Path(__file__).parents[2] / "dags" / "compact_store.py").read_text() + "\nflow = dag\n"

    assert flows.test(text) == {"compact": "success"}

    (view,) = scan_index(open_store(flows.store_folder)) or []
    assert view.located is not None
