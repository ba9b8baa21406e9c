"""The link from a task instance to its run."""

from __future__ import annotations

from typing import Any

import attrs
from airflow.providers.common.compat.sdk import BaseOperatorLink

RUN_KEY = "hindsight_run"  # of XCom
LINK_KEY = "hindsight_link"


@attrs.define()
class RunLink(BaseOperatorLink):  # type: ignore[misc]
    """To the page of the run where a viewer is configured, else to its place in the store."""

    name: str = "Hindsight run"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Evaluated in the task's process, when it has ended; by Airflow 2 in that of its pages."""
        from tracker.operators.compat import IS_AIRFLOW_3, left_by

        found = getattr(operator, "run_link", "") if IS_AIRFLOW_3 else left_by(ti_key, LINK_KEY)
        return str(found or "")


def link_of(store: str, run: str) -> str:
    """Where a run is seen; without credentials."""
    from airflow.providers.common.compat.sdk import conf

    from tracker.secrets import mask_url

    viewer = conf.get("hindsight", "viewer_url", fallback="")
    return f"{viewer.rstrip('/')}/runs/{run}" if viewer else f"{mask_url(store).rstrip('/')}/runs/{run}/"
