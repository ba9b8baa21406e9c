"""``CompactOperator`` in a task that Airflow executes."""

from __future__ import annotations

from pathlib import Path

import tracker
from tests.airflow.flows import Flows
from tracker.read.indexed import scan_index
from tracker.store import keys
from tracker.store.open import open_store

TEXT = (Path(__file__).parents[2] / "dags" / "compact_store.py").read_text() + "\nflow = dag\n"


def test_a_store_is_compacted(flows: Flows) -> None:
    """By the DAG file that is ready to use."""
    with tracker.run("first", store=str(flows.store_folder), capture=()):
        tracker.log("loss", 0.5)

    assert flows.test(TEXT) == {"compact": "success"}

    (view,) = scan_index(open_store(flows.store_folder)) or []
    assert view.located is not None


def test_damage_is_not_tried_again(flows: Flows) -> None:
    """A retry would not mend it, and be green where a run with a damaged segment was taken in."""
    with tracker.run("first", store=str(flows.store_folder), capture=()) as run:
        tracker.log("loss", 0.5)
    (segment,) = flows.store.list(keys.data_folder(run.id))
    flows.store.put(segment.key, b"PAR1 and nothing")

    assert flows.test(TEXT) == {"compact": "failed"}
