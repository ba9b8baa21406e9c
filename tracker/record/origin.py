"""How a run comes about: what its caller says of it, beyond the settings, and who it is by that."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.record.callables import called_name
from tracker.record.identity import NAME_VARIABLE, PARENT_VARIABLE, RUN_VARIABLE, Identity, run_of_launch, take_variable
from tracker.record.replaying import order
from tracker.store.base import Store
from tracker.store.documents import Entry
from tracker.store.ids import is_id

if TYPE_CHECKING:
    from tracker.checkpoint.invocations import CapturedCall
    from tracker.record.run import Run


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Identity and circumstances of a run that is about to start."""

    name: str | None = None
    run_id: str | None = None
    launch_key: str | None = None
    attempt_key: str | None = None  # what the ranks of one try of a job have in common, where there are several
    rank: int = 0  # among those; all but the first write shards of the attempt that the first one opens
    is_counted: bool = False  # several processes of one try may have this launch key: the n-th of each try are one run
    is_restart: bool = False  # a batch system ended the attempt before, and started this one by itself
    tags: tuple[str, ...] = ()
    parent: Run | None = None  # the run around it, in this process
    parent_key: str | None = None  # the launch key of a run around it that another process may have started
    orchestrator: Mapping[str, Any] = field(default_factory=dict)  # its identity in the engine that started it
    function: Callable[..., Any] | None = None  # what is called
    call: CapturedCall | None = None  # and with what
    root: Path | None = None  # the project, where it is not that of the function or of what is running
    began: float | None = None  # when, in Unix seconds, where that is not now
    entry: Entry | None = None  # what to start to do this again, where that is not told by the command line
    offline: bool = False  # the store does not answer, everything waits in the spool


def identify(origin: Origin, replayed: str | None, *, project: str, entry: Entry, store: Store) -> Identity:
    """Who a run is; variables that were set for one run are taken by the first that is inside of no other."""
    run_id, launch_key, name = origin.run_id, origin.launch_key, origin.name
    if replayed is not None:
        run_id, launch_key = replayed, None
    elif origin.parent is None and order() is None:
        run_id = take_variable(RUN_VARIABLE) if run_id is None and launch_key is None else run_id
        name = take_variable(NAME_VARIABLE) if name is None else name
    if name is None and origin.function is not None:
        name = called_name(origin.function)
    if run_id is not None and not is_id(run_id):
        launch_key, run_id = launch_key or f"id/{run_id}", None
    return Identity(
        project=project,
        script=entry.script or entry.function or entry.kind,
        name=name,
        run=run_id,
        launch_key=launch_key,
        attempt_key=origin.attempt_key if replayed is None else None,
        rank=origin.rank,
        parent=_parent_of(origin, store),
        tags=origin.tags,
    )


def _parent_of(origin: Origin, store: Store) -> str | None:
    if origin.parent is not None:
        return origin.parent.id
    if origin.parent_key is not None:
        return run_of_launch(store, origin.parent_key)
    return os.environ.get(PARENT_VARIABLE)
