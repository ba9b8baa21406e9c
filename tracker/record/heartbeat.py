"""The lease of an attempt: a sign of life for those who cannot see its process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tracker.errors import Unavailable
from tracker.store.base import Store
from tracker.store.documents import Lease, encode
from tracker.store.processes import this_writer

_PATIENCE_S = 1.0  # for a beat under way, before the lease is deleted


class Heartbeat:
    """Writes the lease again and again. Safe in threads; what goes wrong is told and never raised by ``upkeep``."""

    def __init__(self, store: Store, key: str, every_s: float, tell: Callable[[Exception], None]) -> None:
        self._store, self._key, self._every_s, self._tell = store, key, every_s, tell
        self._lock = threading.Lock()
        self._due = 0.0
        self._is_interrupted = self._is_over = False

    def beat(self) -> None:
        """Write the lease now; a store that is away gets it with the next beat."""
        with self._lock:
            self._due = time.monotonic() + self._every_s
            if self._is_over:
                return
            lease = Lease(
                writer=this_writer(), renewed=time.time(), interval_s=self._every_s, interrupted=self._is_interrupted
            )
            try:
                self._store.put(self._key, encode(lease))
                if self._is_over:
                    self._store.delete([self._key])
            except Unavailable as exc:
                self._tell(exc)

    def upkeep(self) -> None:
        """Beat when it is time to."""
        if time.monotonic() < self._due:
            return
        try:
            self.beat()
        except Exception as exc:  # noqa: BLE001  the background thread must live on
            self._tell(exc)

    def interrupt(self) -> None:
        """A batch system is about to end this process: without an end of its own, the attempt was preempted."""
        self._is_interrupted = True
        self.beat()

    def end(self) -> None:
        """Delete the lease: the attempt has its end."""
        is_mine = self._lock.acquire(timeout=_PATIENCE_S)
        self._is_over = True
        if is_mine:
            self._lock.release()
        self._store.delete([self._key])
