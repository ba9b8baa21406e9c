"""The plugin that Airflow loads in every one of its processes: the listener, and links for operators of others."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class HindsightPlugin(AirflowPlugin):  # type: ignore[misc]
    """Loaded through an entry point; imports nothing of the core."""

    name = "hindsight"
