"""What our threads import beside the user's program, without holding it up or being torn by its forks.

A module that one thread is importing while another forks can never be imported in the child: the lock of that module
has no owner there. So our threads import what they need under a lock, and a fork waits for it.

While they import, a thread of the program that waits for the interpreter gets it after half a millisecond and not after
five, and libraries are bound before (``libraries.py``): otherwise a single ``log`` may take 20 ms.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tracker.record.libraries import bind_libraries

_PATIENCE_S = 5.0  # a fork in the middle of an import that one of ours waits for must go on at some time
_SWITCH_S = 0.000499  # as nobody else sets it
_importing = threading.Lock()
_held_by_fork = False
_usual_switch_s: float | None = None  # the program's own interval, once ours was set

LOOKING = ("numpy",)  # at the frames of a journal
SEALING = ("numpy", "numpy.ma", "pyarrow", "pyarrow.parquet", "tracker.store.tables", "zlib")
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
        _give_back()  # who saw our interval and set it again later has taken it for the program's
        if all(module in sys.modules for module in modules):
            return
        with _yielding():
            bind_libraries(modules)
            for module in modules:
                importlib.import_module(module)


@contextmanager
def _yielding() -> Iterator[None]:
    """Let whoever waits for the interpreter have it soon. An interval that somebody else sets meanwhile stays."""
    global _usual_switch_s
    _usual_switch_s = sys.getswitchinterval()
    sys.setswitchinterval(min(_usual_switch_s, _SWITCH_S))
    try:
        yield
    finally:
        _give_back()


def _give_back() -> None:
    if _usual_switch_s is not None and math.isclose(sys.getswitchinterval(), _SWITCH_S):
        sys.setswitchinterval(_usual_switch_s)


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
    _give_back()  # the thread that would do it is not here


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
