"""Imports of our threads and forks of the user's program, kept apart.

A module that one thread is importing while another forks can never be imported in the child: the lock of that module
has no owner there. So our threads import what they need under a lock, and a fork waits for it.
"""

from __future__ import annotations

import importlib
import os
import threading

_PATIENCE_S = 5.0  # a fork in the middle of an import that one of ours waits for must go on at some time
_importing = threading.Lock()
_held_by_fork = False

SEALING = ("numpy", "pyarrow", "pyarrow.parquet", "tracker.store.tables", "zlib")
STARTING = (
    "tracker.code.environment",
    "tracker.code.host",
    "tracker.code.packages",
    "tracker.code.snapshot",
    "concurrent.futures.thread",
)
SAMPLING = ("psutil", "shutil", "tracker.record.system")


def preload(modules: tuple[str, ...]) -> None:
    """Import modules in a thread of ours, so that no fork falls between; costs little once they are there."""
    with _importing:
        for module in modules:
            importlib.import_module(module)


def _before() -> None:
    global _held_by_fork
    _held_by_fork = _importing.acquire(timeout=_PATIENCE_S)


def _after_in_parent() -> None:
    global _held_by_fork
    if _held_by_fork:
        _held_by_fork = False
        _importing.release()


def _after_in_child() -> None:
    global _importing, _held_by_fork
    _importing, _held_by_fork = threading.Lock(), False


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
