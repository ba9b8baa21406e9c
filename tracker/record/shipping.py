"""Shipping: from the journals of a run to segments in its store, now or when the store answers again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tracker.errors import Unavailable
from tracker.record.imports import LOOKING, SEALING, preload
from tracker.record.journal import Journal
from tracker.record.recorder import CLOSED, Recorder
from tracker.store.base import Store
from tracker.store.sealing import Totals, remove_covered, seal, tally

if TYPE_CHECKING:
    from tracker.record.run import Run

Written = TypeVar("Written")

_MERGE_EVERY = 8  # small segments of one journal before they are merged
_LONGEST_PAUSE_S = 30.0


class Shipper:
    """Seals the journals of one recorder into a store. Safe in threads; failures keep the journals and are tried again
    with growing pauses.
    """

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        *,
        live: bool,
        noted: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self.store, self.recorder = store, recorder
        self.live = live  # whether readers see the journals themselves, so that open ones need not be flushed
        self._noted = noted  # for a run that may have ended: its index learns of what is published
        self.totals = Totals()
        self._lock = threading.Lock()
        self._flushes = 0
        self.is_away = False  # whether the store could not be used at the last try
        self._pause_s = 0.0
        self._not_before = 0.0

    def seal_full(self, between: Callable[[], None] = lambda: None) -> None:
        """Seal the journals that are full now, and call ``between`` after each; those that fill meanwhile are left."""
        for _ in range(len(self.recorder.full)):
            if not self._seal_next():
                return
            between()

    def _seal_next(self) -> bool:
        """Seal the oldest journal that is full and in which no thread is still writing; whether there was one."""
        if time.monotonic() < self._not_before:
            return False
        preload(LOOKING)
        with self._lock:
            journal = next((journal for journal in list(self.recorder.full) if journal.is_settled()), None)
            if journal is None or not self._seal_whole(journal):
                return False
            with contextlib.suppress(ValueError):  # the run ended meanwhile and took it along
                self.recorder.full.remove(journal)
            return True

    def flush(self) -> bool:
        """Publish what the open journal holds so far; whether everything committed before the call is in the store."""
        self.seal_full()
        preload(SEALING)
        with self._lock:
            journal = self.recorder.journal
            if journal is CLOSED or journal.header is None:
                return not self.recorder.full
            found = journal.frames()
            stop = found.settled
            if stop <= max(journal.sealed_to, 1):
                return not self.recorder.full
            merge = journal.sealed_to > 0 and self._flushes % _MERGE_EVERY == _MERGE_EVERY - 1
            try:
                with self._noted():
                    sealed = seal(self.store, found, 0 if merge else journal.sealed_to, stop)
                    if merge:
                        remove_covered(self.store, sealed)
            except Exception as exc:  # noqa: BLE001  whatever it is, the journal stays and holds everything
                self._failed(exc)
                return False
            journal.sealed_to = stop
            self._flushes += 1
            self._succeeded()
            return not self.recorder.full

    def finish(self, journals: list[Journal]) -> bool:
        """Seal what is left when a run ends; whether all of it is in the store.

        A store that does not answer for one journal is not asked for the others: each would take a minute.
        """
        deadline = time.monotonic() + 0.5
        while not all(journal.is_settled() for journal in journals) and time.monotonic() < deadline:
            time.sleep(0.01)  # a thread was between taking a slot and writing it
        with self._lock:
            self.is_away = False
            sealed = all([not self.is_away and self._seal_whole(journal) for journal in journals])
            for journal in journals:
                if not journal.is_sealed:
                    self.totals.add(tally(journal.frames()))
        for journal in journals:
            journal.release()
        return sealed

    def _seal_whole(self, journal: Journal) -> bool:
        if journal.is_sealed:
            return True
        try:
            preload(SEALING)
            with self._noted():
                sealed = seal(self.store, journal.frames())
                if journal.sealed_to > 0:
                    remove_covered(self.store, sealed)
                journal.remove()
        except Exception as exc:  # noqa: BLE001  whatever it is, the journal stays and holds everything
            self._failed(exc)
            return False
        journal.is_sealed = True
        self.totals.add(sealed.totals)
        self._succeeded()
        return True

    def _succeeded(self) -> None:
        self._pause_s, self.is_away = 0.0, False

    def _failed(self, exc: Exception) -> None:
        self.is_away = isinstance(exc, Unavailable)
        self._pause_s = min(max(1.0, 2 * self._pause_s), _LONGEST_PAUSE_S)
        self._not_before = time.monotonic() + self._pause_s
        self.recorder.warn_once(away(self.store.url, exc), kind="store")


def write_somewhere(run: Run, write: Callable[[Store], Written]) -> Written:
    """Write payloads and what names them into the store of a run, or all of it into the spool: while the store does not
    answer, and until what waits there is shipped. A document in the store could name what only the spool has.
    """
    if run.spool is run.store or not run.is_away:
        try:
            return write(run.store)
        except Unavailable as exc:
            if run.spool is run.store:
                raise
            run.recorder.warn_once(away(run.store.url, exc), kind="store")
    run.owe()
    try:
        return write(run.spool)
    finally:
        run.owe()  # what was shipped meanwhile was not all of it


def away(url: str, exc: Exception) -> str:
    """What it means that a store does not answer, for people."""
    return (
        f"{url} does not take records at the moment; they are kept on this machine and shipped when it does, "
        f"by this run, a later one or `hindsight recover`: {exc}"
    )
