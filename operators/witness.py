"""The attempt of a command that opens none itself, because it does not import the tracker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from tracker.config import Settings
from tracker.errors import Unavailable
from tracker.record.lifecycle import begin_run, end_run
from tracker.record.origin import Origin
from tracker.record.run import Run
from tracker.record.spool import spool_for
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.changes import changing
from tracker.store.documents import Status
from tracker.store.open import connect

_PATIENCE_S = 10.0  # for the command to open its own

log = logging.getLogger(__name__)


class Witness:
    """Watches one try of a command, and records it where the command does not.

    Where the command has opened no attempt after some seconds, one is opened for it, so that its run is seen to be at
    work, and to be killed when nobody is left to end it. One that the command opens later takes its place. Nothing is
    raised: the command does its work, whatever becomes of the record of it.
    """

    def __init__(self, origin: Origin, settings: Settings) -> None:
        self.run = origin.run_id or ""
        self.origin = replace(origin, began=time.time())
        self.settings = settings
        store = connect(settings.store, storage_options=settings.storage_options)
        spool = spool_for(store, settings)
        self.homes = [store] if spool is store else [store, spool]
        self._before, self._has_looked = self._attempts()
        self._opened: Run | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hindsight-witness", daemon=True)
        self._thread.start()

    def end(self, code: int | None, status: Status, *, failure: Exception | None = None) -> None:
        """The command has ended; ``code`` is ``None`` where nobody knows how, and ``failure`` why it was not watched to
        its end.
        """
        self._over.set()
        self._thread.join()
        try:
            is_recorded = self._is_recorded()
            if is_recorded:
                self._take_back()
                return
            if is_recorded is None and self._opened is None:
                log.warning("Hindsight: the store is away and may have an attempt of run %s; none is added", self.run)
                return
            run = self._opened or self._open()
            run.exit_code = code
            end_run(run, status=status, failure=failure)
        except Exception as exc:  # noqa: BLE001  promise: see above
            log.warning("Hindsight: the end of run %s is not recorded: %s: %s", self.run, type(exc).__name__, exc)

    def _watch(self) -> None:
        try:
            while not self._over.wait(_PATIENCE_S):
                is_recorded = self._is_recorded()
                if is_recorded is not None:
                    self._opened = None if is_recorded else self._open()
                    return
        except Exception as exc:  # noqa: BLE001  tried again at the end
            log.warning("Hindsight: run %s is not seen to be at work: %s: %s", self.run, type(exc).__name__, exc)

    def _open(self) -> Run:
        own = {"store": self.settings.store, "storage_options": self.settings.storage_options, "capture": ("code",)}
        return begin_run(self.origin, own)

    def _is_recorded(self) -> bool | None:
        """Whether there is an attempt that the command has opened, in the store or where it waits for the store.

        ``None`` where the store has gone away since the command was started: it may have taken one before. Of a store
        that was away all along what the command has opened waits here.
        """
        began_ms = int((self.origin.began or 0.0) * 1000)  # a store that was away may have older ones, too
        own = {self._opened.attempt} if self._opened is not None else set()
        found, is_whole = self._attempts()
        if any(ids.created_ms(each) >= began_ms for each in found - self._before - own):
            return True
        return None if self._has_looked and not is_whole else False

    def _attempts(self) -> tuple[set[str], bool]:
        """Those that can be seen, and whether those are all."""
        found: set[str] = set()
        is_whole = True
        for home in self.homes:
            try:
                found.update(filter(ids.is_id, home.folders(keys.attempts_folder(self.run))))
            except Unavailable:
                is_whole = False
        return found, is_whole

    def _take_back(self) -> None:
        """The command opened its own attempt after we did: ours goes."""
        if self._opened is None:
            return
        end_run(self._opened)
        folder = f"{keys.attempts_folder(self.run)}{self._opened.attempt}/"
        store, *spool = self.homes
        for home in spool:  # first, because the store may be away, and would get it from there later
            home.delete(list(_documents(home, folder)))
        with changing(store, self.run):
            store.delete(list(_documents(store, folder)))


def _documents(home: Store, folder: str) -> Iterator[str]:
    return (info.key for info in home.list(folder))
