"""Leases: how a reader knows whether an attempt still runs, without asking it."""

from __future__ import annotations

from tracker.store.documents import EndDocument, Lease, Status
from tracker.store.processes import is_alive, is_visible

GRACE_INTERVALS = 4
MINIMUM_GRACE_S = 60.0
_MOST_WRONG_S = 86_400.0  # by which the clock of a machine may be wrong


def derive_status(end: EndDocument | None, lease: Lease | None, *, now: float, written: float | None = None) -> Status:
    """How an attempt stands: by its end, else by its process where that ran here, else by its last sign of life.

    ``now`` is Unix seconds by the reader's clock, ``written`` when the store says that the lease was written, where it
    is known: the writer's own clock may be hours apart. ``killed``: the process is gone and wrote no end. ``lost``: no
    sign of life for four heartbeats and at least a minute, from a machine that we cannot look into. ``preempted``:
    either of these, and a batch system is known to have done it. Nothing is "running" for ever.
    """
    if end is not None:
        return end.status
    if lease is None:
        return "lost"
    visible = is_visible(lease.writer)
    if is_alive(lease.writer) if visible else _is_fresh(lease, now, written):
        return "running"
    if lease.interrupted:
        return "preempted"
    return "killed" if visible else "lost"


def _is_fresh(lease: Lease, now: float, written: float | None) -> bool:
    """Whether the last sign of life is recent. In a copy of a store all was written today, so a day is the limit."""
    grace_s = max(GRACE_INTERVALS * lease.interval_s, MINIMUM_GRACE_S)
    if written is None:
        return now - lease.renewed <= grace_s
    return now - written <= grace_s and now - lease.renewed <= grace_s + _MOST_WRONG_S
