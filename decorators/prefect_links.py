"""The link from a flow run's page in Prefect to its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracker.secrets import mask_url
from tracker.store.keys import run_folder

if TYPE_CHECKING:
    from tracker.record.run import Run


def leave_link(run: Run) -> None:
    """Leave an artifact with the address of the run, without credentials; one request to Prefect's server."""
    from prefect.artifacts import create_link_artifact

    link = f"{mask_url(run.store.url).rstrip('/')}/{run_folder(run.id)}"
    create_link_artifact(link, link_text=f"run {run.short}", description="Recorded by Hindsight.", _sync=True)
