"""Assets, so that a DAG can be scheduled on what a run or a replay came to."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote


def run_asset(name: str) -> Any:
    """The runs of this name: an outlet of ``TrackedOperator`` or of any task, and a schedule for others.

    ::

        TrackedOperator(task_id="train", script="train.py", outlets=[run_asset("train")])
        DAG("evaluate", schedule=[run_asset("train")])
    """
    return _asset("runs", name)


def replay_asset(dag_id: str) -> Any:
    """The replays of a DAG; its events carry ``replay`` and ``states`` in ``extra``."""
    return _asset("replays", dag_id)


def _asset(kind: str, name: str) -> Any:
    from tracker.operators.compat import asset

    return asset(f"hindsight {kind}: {name}", f"hindsight://{kind}/{quote(name, safe='')}")
