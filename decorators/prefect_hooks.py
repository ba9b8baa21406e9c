"""What becomes of runs whose flow's process was killed: a hook for ``on_crashed`` and ``on_cancellation``."""

from __future__ import annotations

from typing import Any

from tracker.decorators.prefect_stores import configured_store

from tracker.code.project import function_root
from tracker.config import Settings, load_settings
from tracker.record.spool import spool_for
from tracker.record.stores import resolve_store
from tracker.store.recovery import recover


def end_lost_runs(flow: Any, flow_run: Any, state: Any) -> None:
    """Bring in what dead processes of this machine have left, and end their runs; ``@tracked`` above ``@flow`` adds it.

    Prefect calls it in the process that watched over the flow's. Without it a run in a remote store shows its last
    records, and that it was lost, when its lease has run out. Running processes are left alone; doing it twice changes
    nothing.
    """
    tracking = getattr(flow.fn, "__hindsight_tracking__", None)
    given = {} if tracking is None else tracking.options
    given = given if given.get("store") else {**configured_store(), **given}
    root = function_root(flow.fn)
    own = {name: value for name, value in given.items() if name in Settings.__struct_fields__}
    settings = load_settings(root, overrides=own)
    store = resolve_store(settings, root, create=False)
    recover(store, spool_for(store, settings))
