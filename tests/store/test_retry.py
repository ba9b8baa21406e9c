"""Trying again is bounded in number and time, and stops at what is final."""

from __future__ import annotations

import time

import pytest

from tracker.errors import KeyNotFound, StoreUnavailable
from tracker.store.retry import RetryPolicy, Transient, persist

QUICK = RetryPolicy(attempts=5, total_s=30.0, first_pause_s=0.001, longest_pause_s=0.002)


class Flaky:
    """An operation that fails a number of times before it succeeds."""

    def __init__(self, failures: int, error: type[Exception] = Transient) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"failure {self.calls}")
        return "done"


@pytest.mark.parametrize("failures", [0, 1, 4])
def test_what_passes_in_time_succeeds(failures: int) -> None:
    """As many calls are made as are needed."""
    operation = Flaky(failures)

    assert persist(operation, QUICK, what="x", fix="y") == "done"
    assert operation.calls == failures + 1


def test_what_never_passes_names_the_last_failure() -> None:
    """The error counts the tries, repeats the last answer and ends with the remedy."""
    operation = Flaky(1000)

    with pytest.raises(StoreUnavailable, match=r"writing a/b failed 5 times .* failure 5; check the network") as caught:
        persist(operation, QUICK, what="writing a/b", fix="check the network")

    assert operation.calls == 5
    assert isinstance(caught.value.__cause__, Transient)


@pytest.mark.parametrize("error", [KeyNotFound, KeyboardInterrupt])
def test_what_is_final_is_not_repeated(error: type[Exception]) -> None:
    """Other errors pass through at the first call and in the middle of retries."""
    first = Flaky(1, error)
    with pytest.raises(error):
        persist(first, QUICK, what="x", fix="y")
    assert first.calls == 1

    errors = iter([Transient("once"), error("then")])

    def later() -> None:
        raise next(errors)

    with pytest.raises(error):
        persist(later, QUICK, what="x", fix="y")


def test_time_bounds_the_tries() -> None:
    """However many attempts are allowed, the pauses do not outlast the time."""
    operation = Flaky(10**9)
    started = time.monotonic()

    with pytest.raises(StoreUnavailable):
        persist(operation, RetryPolicy(attempts=10**6, total_s=0.2, first_pause_s=0.01), what="x", fix="y")

    assert operation.calls < 10**3
    assert time.monotonic() - started < 60
