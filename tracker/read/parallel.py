"""Doing many small reads at once, as far as that helps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

from tracker.store import keys
from tracker.store.base import Store

REMOTE_THREADS = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_local(store: Store) -> bool:
    """Whether the store's keys are files of this machine."""
    return store.local_path(keys.FORMAT) is not None


def each(store: Store, work: Callable[[Item], Result], items: Iterable[Item], *, heavy: bool = False) -> list[Result]:
    """``[work(item) for item in items]``, with bounded threads where waiting dominates.

    On a remote store that is every read. On a local one only ``heavy`` work (decoding columns, which releases the
    interpreter lock) gains. The first error is raised.
    """
    items = list(items)
    if len(items) < 2:
        return [work(item) for item in items]
    threads = (os.cpu_count() or 1) if is_local(store) else REMOTE_THREADS
    if threads == 1 or (is_local(store) and not heavy):
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(threads, len(items)), thread_name_prefix="hindsight-read") as pool:
        return list(pool.map(work, items))
