"""Following a replay that an engine executes elsewhere, by the results that come into the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar

from tracker.errors import HindsightError, Unavailable
from tracker.replay.documents import SliceResult
from tracker.replay.executors import OnResult
from tracker.replay.slices import DONE, read_result
from tracker.store.base import Store

_POLL_S = 1.0
_PATIENCE_S = 600.0  # with a store or a server of the engine that does not answer, while its workers go on

# Set where somebody else may want this thread to stop following: it then does so with the next `rest`.
stopping: ContextVar[threading.Event | None] = ContextVar("hindsight_stopping", default=None)


class Stopped(HindsightError):
    """Nobody wants to know any more what becomes of a replay; the engine goes on with what it has."""


def rest(seconds: float) -> None:
    """Wait between two looks at what an engine does; ``Stopped`` as soon as this thread is to stop."""
    event = stopping.get()
    if event is None:
        time.sleep(seconds)
    elif event.wait(seconds):
        raise Stopped("the replay is not followed any more")


def follow(
    store: Store,
    replay: str,
    numbers: Iterable[int],
    *,
    is_over: Callable[[], bool],
    on_result: OnResult,
    lost: Callable[[str], str],
) -> None:
    """Tell every result once: an answer as it comes, a failure when the engine has ended and nothing will mend it.

    Blocks until all are told. That ``is_over`` or the store is ``Unavailable`` is borne for some minutes. ``lost``
    makes the message of the ``HindsightError`` for slices that have no result in the end.
    """
    waiting = set(numbers)
    deadline = time.monotonic() + _PATIENCE_S
    while waiting:
        found: dict[int, SliceResult | None] = {}
        try:
            ended = is_over()
            found = {number: read_result(store, replay, number) for number in sorted(waiting)}
            deadline = time.monotonic() + _PATIENCE_S
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            ended = False
        for number, result in found.items():
            if result is not None and (ended or result.outcome in DONE):
                waiting.discard(number)
                on_result(result)
        if ended and waiting:
            raise HindsightError(lost(", ".join(map(str, sorted(waiting)))))
        if waiting:
            rest(_POLL_S)
