"""Airflow: operators, the listener, the provider and DAG factories. Airflow itself is imported late."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "TrackedOperator": "tracker.operators.operator",
    "SlurmTrackedOperator": "tracker.operators.slurm",
    "tracked": "tracker.operators.wrapping",
    "HindsightReplayOperator": "tracker.operators.replaying",
    "SyncOperator": "tracker.operators.syncing",
    "CompactOperator": "tracker.operators.compacting",
    "HindsightHook": "tracker.operators.hook",
    "hindsight_replay_dag": "tracker.operators.replay_dag",
    "run_asset": "tracker.operators.assets",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
