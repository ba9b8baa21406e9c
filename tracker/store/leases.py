"""Leases: how a reader knows whether an attempt still runs, without asking it."""

from __future__ import annotations

from tracker.store.documents import EndDocument, Lease, Status
from tracker.store.processes import is_alive, is_visible

GRACE_INTERVALS = 4
MINIMUM_GRACE_S = 60.0


def derive_status(end: EndDocument | None, lease: Lease | None, *, now: float) -> Status:
    """How an attempt stands: by its end, else by its process where that ran here, else by its last sign of life.

    ``now`` is Unix seconds by the reader's clock. ``killed``: the process is gone and wrote no end. ``lost``: no sign
    of life for four heartbeats and at least a minute, from a machine that we cannot look into. ``preempted``: either of
    these, and a batch system is known to have done it. Nothing is "running" for ever.
    """
    if end is not None:
        return end.status
    if lease is None:
        return "lost"
    visible = is_visible(lease.writer)
    grace_s = max(GRACE_INTERVALS * lease.interval_s, MINIMUM_GRACE_S)
    if is_alive(lease.writer) if visible else now - lease.renewed <= grace_s:
        return "running"
    if lease.interrupted:
        return "preempted"
    return "killed" if visible else "lost"
