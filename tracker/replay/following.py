"""Following a replay that an engine executes elsewhere, by the results that come into the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tracker.errors import HindsightError, Unavailable
from tracker.replay.executors import OnResult
from tracker.replay.slices import DONE, read_result
from tracker.store.base import Store

_POLL_S = 1.0
_PATIENCE_S = 600.0  # with a server of the engine that does not answer, while its workers go on


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

    Blocks until all are told. ``is_over`` may raise ``Unavailable``, which is borne for some minutes. ``lost`` makes
    the message of the ``HindsightError`` for slices that have no result in the end.
    """
    waiting = set(numbers)
    deadline = time.monotonic() + _PATIENCE_S
    while waiting:
        try:
            ended = is_over()
            deadline = time.monotonic() + _PATIENCE_S
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            ended = False
        for number in sorted(waiting):
            result = read_result(store, replay, number)
            if result is not None and (ended or result.outcome in DONE):
                waiting.discard(number)
                on_result(result)
        if ended and waiting:
            raise HindsightError(lost(", ".join(map(str, sorted(waiting)))))
        if waiting:
            time.sleep(_POLL_S)
