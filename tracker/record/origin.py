"""How a run comes about: what its caller says of it, beyond the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.store.documents import Entry

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
    entry: Entry | None = None  # what to start to do this again, where that is not told by the command line
    offline: bool = False  # the store does not answer, everything waits in the spool
