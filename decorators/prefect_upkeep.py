"""The flow ``hindsight_compact``: the index of a store is kept up to date on a schedule."""

from __future__ import annotations

from prefect import flow, get_run_logger
from tracker.decorators.prefect_stores import open_given

from tracker.errors import Corrupt
from tracker.upkeep.compaction import GRACE_S, compact


@flow(name="hindsight_compact", retries=3, retry_delay_seconds=60)  # type: ignore[untyped-decorator]
def hindsight_compact(
    store: str | None = None, block: str | None = None, full: bool = False, grace_s: float = GRACE_S
) -> dict[str, int]:
    """Merge what readers ask of all runs into few files; how many runs there are, and were taken in.

    The store is an address or a block ``HindsightStore``; by default that of the settings. Safe while runs write,
    beside other compactions, and when it is killed. Fails when a run's data is damaged, after the rest is done.
    """
    opened, _ = open_given(store, block)
    done = compact(opened, full=full, grace_s=grace_s)
    get_run_logger().info("%s of %s runs were taken in, %s cannot be yet", done.indexed, done.runs, done.open)
    if done.problems:
        raise Corrupt(f"{len(done.problems)} runs could not be read: {', '.join(list(done.problems)[:20])}")
    return {"runs": done.runs, "indexed": done.indexed, "open": done.open, "written_bytes": done.written_bytes}
