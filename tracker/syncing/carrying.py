"""Carrying keys from store to store, several at a time, and counting what arrived."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TypeVar, cast

from tracker.errors import BadKey, Corrupt, KeyNotFound
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.holds import Holding
from tracker.syncing import copying
from tracker.syncing.catalogue import MAX_DOCUMENT_BYTES, Item, Told, read_document
from tracker.syncing.copying import put_merged
from tracker.syncing.summary import Tally

REMOTE_THREADS, LOCAL_THREADS = 16, 8
LARGE_AT_A_TIME = 4  # payloads that pass through a file, which may lie in memory, too

Given = TypeVar("Given")
Got = TypeVar("Got")


class Carrier:
    """Reads from one store and writes to the other with a bounded number of threads; writes nothing when ``dry``.

    Damage in the source is noted as a problem of its key; that a store cannot be used is raised.
    """

    def __init__(self, source: Store, target: Store, tally: Tally, *, dry: bool, threads: int | None = None) -> None:
        self.source, self.target, self.tally, self.dry = source, target, tally, dry
        self._holding = Holding(target)
        local = is_local(source) and is_local(target)
        self._threads = threads or (LOCAL_THREADS if local else REMOTE_THREADS)
        self._large = threading.Semaphore(LARGE_AT_A_TIME)
        self._pool = ThreadPoolExecutor(self._threads, "hindsight-sync")

    def __enter__(self) -> Carrier:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._holding.end()

    def hold(self) -> None:
        """From now on nobody deletes from the target what it has already and what a document is about to need."""
        if not self.dry:
            self._holding.begin()

    def each(self, work: Callable[[Given], Got], items: Iterable[Given]) -> list[Got]:
        """``[work(item) for item in items]`` in the threads; the first error is raised and ends the rest.

        The threads take items one after the other by themselves: a future for each would cost more than many a key.
        """
        waiting = list(items)
        results: list[Got | None] = [None] * len(waiting)
        numbers = itertools.count()
        stopped = False

        def take() -> None:
            nonlocal stopped
            while (number := next(numbers)) < len(waiting) and not stopped:
                try:
                    results[number] = work(waiting[number])
                except BaseException:
                    stopped = True
                    raise

        running = [self._pool.submit(take) for _ in range(min(self._threads, len(waiting)))]
        try:
            for future in running:
                future.result()
        finally:
            stopped = True
        return cast("list[Got]", results)

    def read(self, item: Item) -> tuple[bytes, Told] | None:
        """A document of the source; ``None`` when it is gone or not to be trusted."""
        try:
            if item.info.size_bytes > MAX_DOCUMENT_BYTES:
                raise Corrupt(f"it has {item.info.size_bytes:,} bytes, and no document has more than a few")
            data = self.source.get(item.key)
            return data, read_document(data, item)
        except KeyNotFound:
            return None
        except (Corrupt, BadKey) as exc:
            self.tally.problem(item.key, str(exc))
            return None

    def carry(self, item: Item) -> bool:
        """Copy a payload; whether the target has it now."""
        self._holding.check()
        try:
            size = item.info.size_bytes if self.dry else self._copy(item)
        except KeyNotFound:
            return False  # sealed, compacted or collected since the listing
        except (Corrupt, BadKey) as exc:
            self.tally.problem(item.key, str(exc))
            return False
        self.tally.brought(item.key, item.category, size)
        return True

    def _copy(self, item: Item) -> int:
        with self._large if item.info.size_bytes > copying.IN_MEMORY_BYTES else nullcontext():
            return copying.copy(self.source, self.target, item)

    def put(self, item: Item, data: bytes) -> bool:
        """Bring a document over, merged with what the target has; whether the target changed."""
        self._holding.check()
        changed = put_merged(data, self.target, item, dry=self.dry)
        if changed:
            self.tally.brought(item.key, "document", len(data))
        return changed


def is_local(store: Store) -> bool:
    """Whether the store answers without a server."""
    return store.local_path(keys.FORMAT) is not None or store.url.startswith("memory:")
