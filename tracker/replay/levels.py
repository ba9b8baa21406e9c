"""Which blocks a probe lies in, so that all the others can be skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracker.replay.inserted import Changes


@dataclass(frozen=True)
class Reach:
    """Where probes run. The default says that nothing is known: then everything must run.

    ``run_blocks``: nested loops in which they do; ``None``: it may be any. ``inside``: in iterations of the
    checkpointed loop, in or outside of blocks. ``outside``: before or after that loop.
    """

    run_blocks: tuple[str, ...] | None = None
    inside: bool = True
    outside: bool = True


def find_reach(sources: Mapping[str, str], changes: Changes, loop: str) -> Reach:
    return Reach()
