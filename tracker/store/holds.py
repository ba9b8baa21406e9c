"""Holds and sweeps: how a writer may rely on what it finds in a store while somebody deletes what nothing needs.

A payload is stored once, so a writer often finds one that is there already and that no document names any more. Between
its look and the document that names it again a sweep could delete it. So both say what they do before they look at what
the other does: the writer puts a *hold* with the keys and then looks for sweeps, the sweep puts a *sweep* and then
looks for holds. At least one of them sees the other: the sweep spares what is held, the writer waits for its end and
looks again (docs/design/0018).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from tracker.errors import Conflict, Corrupt, KeyNotFound, Unavailable
from tracker.store import ids, keys
from tracker.store.base import Info, Store, has
from tracker.store.documents import Hold, Sweep, decode, encode
from tracker.store.processes import is_alive, is_visible, this_writer

HOLD_LIFE_S = 86_400.0  # after that its writer was killed
EVERYTHING_LIFE_S = 3_600.0  # of one that stops every sweep; renewed while its owner is at work
SWEEP_LIFE_S = 300.0
_RENEW_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0


def clock_s() -> float:
    """Seconds that pass while the machine sleeps, too, where its system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def store_time(store: Store) -> float:
    """The time by the store's own clock: that of a key that was just written, a hold of nothing."""
    hold = Hold(hold=ids.new_id(), created=time.time(), writer=this_writer())
    key = keys.hold_document(hold.hold)
    store.put(key, encode(hold))
    try:
        return store.info(key).modified or 0.0
    finally:
        _forget(store, key)


@contextmanager
def relying(store: Store, wanted: Iterable[str]) -> Iterator[list[str]]:
    """Name these keys in a document inside of this block; gives those that are not there, or not any more.

    Nobody deletes the others before the block ends, nor afterwards, because the document then names them. Waits while
    a sweep is at work. A kill leaves a small key, which the next sweep removes once it is a day old.
    """
    named = tuple(dict.fromkeys(wanted))
    with holding(store, named):
        yield [key for key in named if not has(store, key)]


@contextmanager
def holding(store: Store, wanted: Iterable[str]) -> Iterator[None]:
    """Look for these keys, or store them, and name them inside of this block: nobody deletes them before it ends."""
    named = tuple(dict.fromkeys(wanted))
    if not named:
        yield
        return
    hold = Hold(hold=ids.new_id(), created=time.time(), writer=this_writer(), keys=named)
    key = keys.hold_document(hold.hold)
    store.put(key, encode(hold))
    try:
        _wait(store, key, frozenset(named))
        yield
    finally:
        _forget(store, key)


class Holding:
    """Keeps a store from being swept at all, for those who rely on many keys; a thread renews it.

    ::

        with Holding(target) as holding:
            holding.begin()
            ...
            holding.check()
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._hold = Hold(hold=ids.new_id(), created=time.time(), writer=this_writer(), everything=True)
        self._renewed: float | None = None
        self._lock = threading.Lock()  # so that nothing is put after the end
        self._over = threading.Event()

    def begin(self) -> None:
        """From here on nothing is swept; waits for a sweep that is at work. Doing it again only checks."""
        if self._renewed is None:
            self._put()
            _wait(self.store, keys.hold_document(self._hold.hold), None)
            threading.Thread(target=self._keep, name="hindsight-holding", daemon=True).start()
        self.check()

    def check(self) -> None:
        """``Conflict`` when this could not be renewed for so long that a sweep may have gone on; any thread's."""
        renewed = self._renewed
        if renewed is not None and (silent_s := clock_s() - renewed) > EVERYTHING_LIFE_S / 2:
            raise Conflict(
                f"this was held up for {silent_s:.0f} s, and what was found in {self.store.url} may have been deleted "
                "since; call it again"
            )

    def end(self) -> None:
        """Sweeps may begin again."""
        self._over.set()
        with self._lock:
            if self._renewed is not None:
                self._renewed = None
                _forget(self.store, keys.hold_document(self._hold.hold))

    def _keep(self) -> None:
        """Say that this is still at work, again and again; once it was held up too long that says nothing any more."""
        while not self._over.wait(_RENEW_S):
            with self._lock, suppress(Unavailable):
                if self._renewed is None or clock_s() - self._renewed > EVERYTHING_LIFE_S / 2:
                    return
                self._put()

    def _put(self) -> None:
        at = clock_s()
        self.store.put(keys.hold_document(self._hold.hold), encode(self._hold))
        self._renewed = at

    def __enter__(self) -> Holding:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _forget(store: Store, key: str) -> None:
    with suppress(Unavailable):  # it expires
        store.delete([key])


def _wait(store: Store, own: str, wanted: frozenset[str] | None) -> None:
    """Wait until no sweep of these keys, or of any, is at work. Times are the store's own: that of a key that was just
    written, and since.
    """
    if not any(True for _ in store.list(keys.SWEEPS)):
        return
    began, now, pause = clock_s(), store.info(own).modified, _FIRST_PAUSE_S
    while any(_lives(store, info, now, clock_s() - began, wanted) for info in store.list(keys.SWEEPS)):
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _lives(store: Store, info: Info, now: float | None, since_s: float, wanted: frozenset[str] | None = None) -> bool:
    """Whether a sweep is at work: its process lives where that can be seen, else it was renewed not long ago; with
    ``wanted`` only one that deletes any of these keys.
    """
    if info.modified is not None and now is not None and info.modified <= now + since_s - SWEEP_LIFE_S:
        return False
    try:
        sweep = decode(store.get(info.key), Sweep, key=info.key)
    except KeyNotFound:
        return False
    except Corrupt:
        return True
    if wanted is not None and sweep.keys is not None and wanted.isdisjoint(sweep.keys):
        return False
    return sweep.writer is None or not is_visible(sweep.writer) or is_alive(sweep.writer)


class Sweeping:
    """Deletes keys that nothing needs, so that writers can see it. ``held`` and then the documents are looked at after
    ``begin``; ``delete`` renews the announcement and takes a batch at a time. ``Conflict`` ends it: another one is at
    work, or this one was held up for so long that writers may have gone on. With ``only`` it deletes no other keys, and
    those who want others need not wait.
    """

    def __init__(self, store: Store, only: Iterable[str] | None = None) -> None:
        self.store = store
        named = None if only is None else tuple(only)
        self._sweep = Sweep(sweep=ids.new_id(), created=time.time(), writer=this_writer(), keys=named)
        self._key = keys.sweep_document(self._sweep.sweep)
        self._put_at = 0.0

    def begin(self) -> float:
        """Announce it; gives the time by the store's own clock. Two that begin at once may both be refused."""
        self._put_at = clock_s()
        self.store.put(self._key, encode(self._sweep))
        now = self.store.info(self._key).modified
        others = (info for info in self.store.list(keys.SWEEPS) if info.key != self._key)
        if any(_lives(self.store, info, now, clock_s() - self._put_at) for info in others):
            raise Conflict("another collection is at work")
        return now or 0.0

    def renew(self) -> None:
        """Say that this is still at work; a request now and then."""
        began = clock_s()
        if began - self._put_at > _RENEW_S:
            self._check()
            self.store.put(self._key, encode(self._sweep))
            self._check()
            self._put_at = began

    def _check(self) -> None:
        silent_s = clock_s() - self._put_at
        if silent_s > SWEEP_LIFE_S / 2:
            raise Conflict(
                f"this collection was held up for {silent_s:.0f} s, and writers may have gone on; call it again"
            )

    def delete(self, doomed: list[str]) -> None:
        """Delete a batch."""
        self.renew()
        self.store.delete(doomed)

    def end(self) -> None:
        """Writers that wait go on."""
        _forget(self.store, self._key)


def held_keys(store: Store, now: float) -> set[str] | None:
    """What writers rely on; ``None`` while somebody relies on everything. ``now`` is the store's time."""
    found: set[str] = set()
    for info, hold in _holds(store):
        if not is_expired(info, hold, now=now):
            if hold is None or hold.everything:
                return None
            found.update(hold.keys)
    return found


def expired_holds(store: Store, now: float) -> list[Info]:
    """Holds whose writers were killed."""
    return [info for info, hold in _holds(store) if is_expired(info, hold, now=now)]


def _holds(store: Store) -> Iterator[tuple[Info, Hold | None]]:
    """All holds, with ``None`` for those that cannot be read."""
    for info in store.list(keys.HOLDS):
        try:
            yield info, decode(store.get(info.key), Hold, key=info.key)
        except Corrupt:
            yield info, None
        except KeyNotFound:
            continue


def is_expired(info: Info, hold: Hold | None, *, now: float) -> bool:
    """Whether a hold is its writer's no more: that one is known to be gone, or has not renewed it for too long."""
    if hold is not None and hold.writer is not None and is_visible(hold.writer):
        return not is_alive(hold.writer)
    life_s = EVERYTHING_LIFE_S if hold is not None and hold.everything else HOLD_LIFE_S
    return info.modified is not None and now - info.modified > life_s
