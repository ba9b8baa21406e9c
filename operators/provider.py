"""What Airflow asks an installed package for: its decorators, connection type, links and settings."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's description; called whenever an Airflow process starts, so it imports nothing."""
    return {
        "package-name": "hindsight-tracker",
        "name": "Hindsight",
        "description": "Ask past training runs new questions: tracked tasks, and replays as scheduled DAGs.",
        "integrations": [{"integration-name": "Hindsight", "tags": ["software"]}],
        "operators": [
            {
                "integration-name": "Hindsight",
                "python-modules": [
                    "tracker.operators.compacting",
                    "tracker.operators.operator",
                    "tracker.operators.replaying",
                    "tracker.operators.slurm",
                    "tracker.operators.syncing",
                ],
            }
        ],
        "hooks": [{"integration-name": "Hindsight", "python-modules": ["tracker.operators.hook"]}],
        "triggers": [{"integration-name": "Hindsight", "python-modules": list(_TRIGGERS)}],
        "connection-types": [
            {"connection-type": "hindsight", "hook-class-name": "tracker.operators.hook.HindsightHook"}
        ],
        "extra-links": ["tracker.operators.links.RunLink"],
        "task-decorators": [{"name": "tracked", "class-name": "tracker.operators.task.tracked_task"}],
        "config": {"hindsight": {"description": "What is tracked, and where.", "options": _OPTIONS}},
    }


_TRIGGERS = ("tracker.operators.slurm_trigger", "tracker.operators.replay_trigger")


def _option(description: str, default: str = "") -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": "string",
        "example": None,
        "default": default,
    }


_OPTIONS = {
    "store": _option("Store of tracked tasks: a folder or URL. The environment's HINDSIGHT_STORE comes first."),
    "conn_id": _option("Connection of type `hindsight` that names the store. Default: `hindsight_default`."),
    "deployment": _option(
        "Name of this Airflow among those that share the store. Default: the address in `[api] base_url`."
    ),
    "listener": _option("Whether every task instance is recorded without a change of its code.", "False"),
    "preload": _option("Whether a scheduler imports what its local workers need; it does with the listener.", "False"),
    "dag_ids": _option("DAG ids that the listener records, with * as wildcard, separated by commas.", "*"),
    "dag_tags": _option("Tags of DAGs, separated by commas: the listener records only DAGs that have one of them."),
    "viewer_url": _option("Address of the pages that show runs, for links; default: the run's place in the store."),
}
