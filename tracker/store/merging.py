"""What two stores agree on that both have a document under one key.

Each rule gives one of its two documents, or their union. It does not matter which store asks, in which order stores
meet, or how often: they end with the same document.
"""

from __future__ import annotations

import msgspec

from tracker.store.documents import EndDocument, Launch, Lease, RankFailure, RunDocument, encode


def launches(one: Launch, other: Launch) -> Launch:
    """The run that was first: ids sort by time. Both runs keep the launch key in their own documents."""
    return min(one, other, key=lambda launch: launch.run)


def runs(one: RunDocument, other: RunDocument) -> RunDocument:
    """The earlier one, with the tags of both."""
    first = min(one, other, key=lambda run: (run.created, encode(msgspec.structs.replace(run, tags=()))))
    if one.tags == other.tags:
        return first
    return msgspec.structs.replace(first, tags=tuple(sorted({*one.tags, *other.tags})))


def leases(one: Lease, other: Lease) -> Lease:
    """The later sign of life."""
    return max(one, other, key=lambda lease: (lease.renewed, encode(lease)))


def failures(one: RankFailure, other: RankFailure) -> RankFailure:
    """The first one: what fails later fails because of it, mostly."""
    return min(one, other, key=lambda failure: (failure.ended, encode(failure)))


def ends(one: EndDocument, other: EndDocument) -> EndDocument:
    """What the attempt said itself, before what a recovery concluded; then the later one, and the fuller one."""
    return max(one, other, key=lambda end: (not end.recovered, end.ended, end.records, encode(end)))
