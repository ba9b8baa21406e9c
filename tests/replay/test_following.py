"""Following a replay by its results, while the store goes away, and until nobody wants to know any more."""

from __future__ import annotations

import threading

import pytest

from tests.record.wayward import Wayward
from tracker.errors import StoreUnavailable
from tracker.replay.documents import SliceResult
from tracker.replay.following import Stopped, follow, stopping
from tracker.store import keys
from tracker.store.documents import encode
from tracker.store.ids import new_id

REPLAY = new_id()


class Away(Wayward):
    """Reading fails a few times."""

    failures = 3

    def get(self, key: str) -> bytes:
        """The bytes, or nothing yet."""
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the store is away")
        return super().get(key)


def test_a_store_that_is_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine has ended long since: results are told once the store answers again."""
    monkeypatch.setattr("tracker.replay.following._POLL_S", 0.01)
    store, told = Away(), []
    for number in (0, 1):
        result = SliceResult(replay=REPLAY, number=number, run="r", outcome="answered")
        store.put(keys.replay_result(REPLAY, number), encode(result))

    follow(store, REPLAY, [0, 1], is_over=lambda: True, on_result=told.append, lost=str)

    assert [result.number for result in told] == [0, 1]
    assert not store.failures


def test_a_thread_that_is_to_stop() -> None:
    """It does so at once, whatever the engine does."""
    stop, ended = threading.Event(), []

    def work() -> None:
        stopping.set(stop)
        try:
            follow(Wayward(), REPLAY, [0], is_over=lambda: False, on_result=print, lost=str)
        except Stopped as exc:
            ended.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    stop.set()
    thread.join(120)

    assert len(ended) == 1
