"""The plugin that Airflow loads in every one of its processes: the listener."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowPlugin
from tracker.operators import listener
from tracker.operators.links import RunLink


class HindsightPlugin(AirflowPlugin):  # type: ignore[misc]
    """Loaded through an entry point; imports nothing of the core before a task runs."""

    name = "hindsight"
    listeners: ClassVar[list[Any]] = [listener]
    operator_extra_links: ClassVar[list[Any]] = [RunLink()]
