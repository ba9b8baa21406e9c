"""Capture and restore of one value: the two functions that most callers need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracker.checkpoint.capturing import Capturing
from tracker.checkpoint.restoring import Restoring
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import MISSING, Tree, pickled_paths

__all__ = [
    "MISSING",
    "Capturing",
    "Restoring",
    "Tree",
    "capture",
    "pickled_paths",
    "restore",
]


def capture(value: Any, tensors: list[TensorData], *, max_bytes: int | None = None, allow_pickle: bool = False) -> Tree:
    """The tree of a plain value, as it is now; copies of its arrays are appended to ``tensors``.

    ``Uncapturable`` names the part that has no form; then nothing was appended. For several values that may share
    parts, or that refer to registered objects, use one `Capturing`.

    >>> held = []
    >>> tree = capture({"best": 0.5, "seen": {1, 2}}, held)
    >>> restore(tree, held)
    {'best': 0.5, 'seen': {1, 2}}
    """
    return Capturing(tensors, max_bytes=max_bytes, allow_pickle=allow_pickle).take(value)


def restore(tree: Tree, tensors: Sequence[TensorData], existing: Any = MISSING, *, trust: bool = False) -> Any:
    """The value of a tree, written into ``existing`` where that has the same form; returns what to bind.

    ``Untrusted`` where code would have to run and ``trust`` is not set, ``DamagedDocument`` for a malformed tree.
    """
    return Restoring(tensors, trust=trust).give(tree, existing)
