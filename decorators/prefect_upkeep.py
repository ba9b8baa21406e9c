"""The flow ``hindsight_compact``: the index of a store is kept up to date on a schedule."""

from __future__ import annotations

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from tracker.decorators.prefect_stores import open_given

from tracker.errors import Corrupt
from tracker.upkeep.compact_summary import CompactSummary
from tracker.upkeep.compaction import GRACE_S, compact


@task(  # type: ignore[untyped-decorator]
    name="hindsight_compact", retries=3, retry_delay_seconds=60, cache_policy=NO_CACHE, persist_result=False
)
def _compact(store: str | None, block: str | None, full: bool, grace_s: float) -> CompactSummary:
    """Retried by itself, so that damage, which no retry mends, is told once."""
    opened, _ = open_given(store, block)
    return compact(opened, full=full, grace_s=grace_s)


@flow(name="hindsight_compact")  # type: ignore[untyped-decorator]
def hindsight_compact(
    store: str | None = None, block: str | None = None, full: bool = False, grace_s: float = GRACE_S
) -> dict[str, int]:
    """Merge what readers ask of all runs into few files; how many runs there are, and were taken in.

    The store is an address or a block ``HindsightStore``; by default that of the settings. Safe while runs write,
    beside other compactions, and when it is killed. Fails when something of a run is damaged, after the rest is done,
    and is not retried then: because of a document each time, until that is mended; because of a segment once, since a
    run that was taken in is not read again (``hindsight verify`` reads everything).
    """
    done = _compact(store, block, full, grace_s)
    get_run_logger().info("%s of %s runs were taken in, %s cannot be yet", done.indexed, done.runs, done.open)
    if done.problems:
        raise Corrupt(f"{len(done.problems)} runs could not be read: {', '.join(list(done.problems)[:20])}")
    return {"runs": done.runs, "indexed": done.indexed, "open": done.open, "written_bytes": done.written_bytes}
