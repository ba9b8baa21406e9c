"""The background threads of a process: they seal, renew leases, sample, and flush for every open run."""

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
    """Calls ``upkeep`` of everything it tends, in a daemon thread for each lane: what waits for a store that does not
    answer holds up nothing in other lanes. A thread begins with the first of its lane, and again in a forked child that
    records.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def add(self, tended: Tended, lane: str) -> None:
        """Tend this from now on."""
        with self._lock:
            self._lanes.setdefault(lane, _Lane()).add(tended)

    def remove(self, tended: Tended) -> None:
        """Tend this no longer. An upkeep under way may still be running when this returns."""
        with self._lock:
            for lane in self._lanes.values():
                lane.remove(tended)
            self._lanes = {name: lane for name, lane in self._lanes.items() if lane.tended}

    def wake(self) -> None:
        """Look after everything now."""
        for lane in list(self._lanes.values()):
            lane.event.set()

    def _after_fork(self) -> None:
        self._lanes, self._lock = {}, threading.Lock()


class _Lane:
    """One thread, and what it tends; it ends when there is nothing left."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.tended: tuple[Tended, ...] = ()
        self._thread: threading.Thread | None = None

    def add(self, tended: Tended) -> None:
        if tended not in self.tended:
            self.tended = (*self.tended, tended)
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="hindsight", daemon=True)
            self._thread.start()

    def remove(self, tended: Tended) -> None:
        self.tended = tuple(each for each in self.tended if each is not tended)

    def _loop(self) -> None:
        while self.tended:
            self.event.wait(_TICK_S)
            self.event.clear()
            for item in self.tended:
                item.upkeep()


BACKGROUND = Background()
