"""The audit hook of the process: which files are about to be opened, and how.

Python announces every ``open`` (also ``os.open``, and through them ``numpy.load``, ``pandas.read_csv`` and others),
every ``sqlite3.connect`` and every rename. What a C library opens by itself is not announced. A hook cannot be removed
from a process, so this one is installed when it is first needed and does nothing while nobody listens.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any
from urllib.parse import unquote

Listener = Callable[[str, bool, bool], None]
"""Takes the path as it was given, whether what is there may be read, and whether it may be changed."""

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD_LIBRARY = os.path.join(sysconfig.get_paths()["stdlib"], "")
_SITE = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
_MAX_FRAMES = 64
_ACCESS_MODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
_NOT_A_FILE = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", 0)

_listeners: tuple[Listener, ...] = ()
_installing = threading.Lock()
_installed = False
_inside = threading.local()


def listen(listener: Listener) -> None:
    """Tell ``listener`` of files from now on. It runs inside the opening call; what it raises is dropped."""
    global _listeners, _installed
    with _installing:
        _listeners = (*_listeners, listener)
        if not _installed:
            _installed = True
            sys.addaudithook(_hook)


def end(listener: Listener) -> None:
    """Tell it no more."""
    global _listeners
    with _installing:
        _listeners = tuple(other for other in _listeners if other != listener)


def opened_by_us() -> bool:
    """Whether a listener is told of a file that our code opens, itself or through the standard library."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not _hook.__code__:
        frame = frame.f_back
    for _ in range(_MAX_FRAMES):
        frame = frame and frame.f_back
        if frame is None:
            return False
        if not _is_standard(frame.f_code.co_filename):
            return frame.f_code.co_filename.startswith(_PACKAGE)
    return False


def _is_standard(name: str) -> bool:
    return name.startswith("<frozen") or (
        name.startswith(_STANDARD_LIBRARY) and not any(part in name for part in _SITE)
    )


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _listeners or event not in _EVENTS or getattr(_inside, "hook", False):
        return
    _inside.hook = True
    try:
        for path, reads, writes in _EVENTS[event](args):
            for listener in _listeners:
                listener(path, reads, writes)
    except Exception:  # noqa: BLE001  an exception in a hook would make the program's open() fail
        return
    finally:
        _inside.hook = False


def _on_open(args: tuple[Any, ...]) -> list[tuple[str, bool, bool]]:
    path, _, flags = args
    name = _path_text(path)
    if name is None or not isinstance(flags, int) or flags & _NOT_A_FILE:
        return []
    access = flags & _ACCESS_MODE
    # A file opened to append to is the run's own log as a rule, even where it could be read too.
    reads = access != os.O_WRONLY and not flags & (os.O_TRUNC | os.O_EXCL | os.O_APPEND)
    return [(name, reads, access != os.O_RDONLY)]


def _on_sqlite(args: tuple[Any, ...]) -> list[tuple[str, bool, bool]]:
    name = _path_text(args[0])
    if name is None or name == ":memory:":
        return []
    if name.startswith("file:"):
        name = unquote(name[5:].split("?", 1)[0].split("#", 1)[0])
        name = "/" + name.lstrip("/") if name.startswith("/") else name
    return [(name, True, True)]


def _on_rename(args: tuple[Any, ...]) -> list[tuple[str, bool, bool]]:
    name = _path_text(args[1])
    return [] if name is None else [(name, False, True)]


def _path_text(path: Any) -> str | None:
    """The path of a file that is opened by name; ``None`` for a number of an open one."""
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None


_EVENTS: dict[str, Callable[[tuple[Any, ...]], list[tuple[str, bool, bool]]]] = {
    "open": _on_open,
    "sqlite3.connect": _on_sqlite,
    "os.rename": _on_rename,
}
