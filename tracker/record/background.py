"""The one background thread of a process: it seals, renews leases, samples, and flushes for every open run."""

from __future__ import annotations

import os
import threading
from typing import Protocol

_TICK_S = 0.25


class Tended(Protocol):
    """What needs regular upkeep."""

    def upkeep(self) -> None:
        """Do what is due; called a few times a second, and at once after ``Background.wake``. Must not raise."""


class Background:
    """Calls ``upkeep`` of everything it tends. A daemon thread, started with the first run and again in a forked child
    that records.
    """

    def __init__(self) -> None:
        self._tended: list[Tended] = []
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._after_fork)

    def add(self, tended: Tended) -> None:
        """Tend this from now on."""
        with self._lock:
            if tended not in self._tended:
                self._tended.append(tended)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, name="hindsight", daemon=True)
                self._thread.start()

    def remove(self, tended: Tended) -> None:
        """Tend this no longer. An upkeep under way may still be running when this returns."""
        with self._lock:
            if tended in self._tended:
                self._tended.remove(tended)

    def wake(self) -> None:
        """Look after everything now."""
        self._event.set()

    def _loop(self) -> None:
        while True:
            self._event.wait(_TICK_S)
            self._event.clear()
            with self._lock:
                tended = list(self._tended)
                if not tended:
                    self._thread = None
                    return
            for item in tended:
                item.upkeep()

    def _after_fork(self) -> None:
        self._tended, self._thread = [], None
        self._event, self._lock = threading.Event(), threading.Lock()


BACKGROUND = Background()
