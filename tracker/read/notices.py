"""How reading tells about what it had to leave out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_listeners: dict[int, dict[str, str]] = {}


class DamageWarning(UserWarning):
    """Something in the store could not be read and was left out; everything beside it was read."""


def left_out(key: str, reason: object) -> None:
    """Warn that a key was skipped, and why. One damaged key never hides its neighbours."""
    for heard in list(_listeners.values()):
        heard.setdefault(key, str(reason))
    warnings.warn(f"left out {key}: {reason}", DamageWarning, stacklevel=3)


@contextmanager
def hearing() -> Iterator[dict[str, str]]:
    """What is left out meanwhile, by key, whichever thread reads and whatever becomes of the warnings: for those who
    must not take what cannot be read for what is not there.
    """
    heard: dict[str, str] = {}
    _listeners[id(heard)] = heard
    try:
        yield heard
    finally:
        del _listeners[id(heard)]
