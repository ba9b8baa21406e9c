"""How reading tells about what it had to leave out."""

from __future__ import annotations

import warnings


class DamageWarning(UserWarning):
    """Something in the store could not be read and was left out; everything beside it was read."""


def left_out(key: str, reason: object) -> None:
    """Warn that a key was skipped, and why. One damaged key never hides its neighbours."""
    warnings.warn(f"left out {key}: {reason}", DamageWarning, stacklevel=3)
