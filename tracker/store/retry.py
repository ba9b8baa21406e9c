"""Trying again: bounded, with growing and random pauses, and only for failures that may pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tracker.errors import StoreUnavailable

Result = TypeVar("Result")


@dataclass(frozen=True)
class RetryPolicy:
    """How often, how long and with which pauses an operation is tried; the first bound that is met ends it."""

    attempts: int = 8
    total_s: float = 60.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 8.0


OPENING = RetryPolicy(attempts=3, total_s=10.0)
"""A person waits for the answer while a store is opened, so it comes sooner."""


class Transient(Exception):
    """One attempt failed in a way that the next one may not; never leaves the store's room."""


def persist(operation: Callable[[], Result], policy: RetryPolicy, *, what: str, fix: str) -> Result:
    """The operation's result, from the first attempt that succeeds; ``StoreUnavailable`` when none does.

    The operation must be harmless to repeat. Only ``Transient`` is tried again; other errors pass through at once.
    Blocks for at most ``policy.total_s`` plus one attempt.
    """
    started = time.monotonic()
    try:
        return operation()
    except Transient as exc:
        failed: Transient | None = exc
    # Imported after a first failure only: tenacity brings asyncio, which a healthy process may not need.
    import tenacity

    def again() -> Result:
        nonlocal failed
        if failed is not None:
            first, failed = failed, None
            raise first
        return operation()

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(policy.attempts) | tenacity.stop_before_delay(policy.total_s),
        wait=tenacity.wait_random_exponential(multiplier=policy.first_pause_s, max=policy.longest_pause_s),
        retry=tenacity.retry_if_exception_type(Transient),
    )
    try:
        return retrying(again)
    except tenacity.RetryError as exc:
        last, count = exc.last_attempt.exception(), exc.last_attempt.attempt_number
        raise StoreUnavailable(
            f"{what} failed {count} times in {time.monotonic() - started:.1f} s, at last with: {last}; {fix}"
        ) from last
