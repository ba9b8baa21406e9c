"""Listening to a text stream without taking its place.

A tap is put on the stream object itself: its ``write`` (and that of its buffer) becomes a function that writes first
and tells the listeners afterwards. ``sys.stdout`` stays the very same object, so ``isatty``, ``fileno``, ``encoding``,
``reconfigure``, ``isinstance`` checks and references that others hold keep working, and whoever replaces ``sys.stdout``
later is never in our way nor we in theirs. Not seen: writes to the file descriptor by C libraries and child processes.
"""

from __future__ import annotations

import codecs
import io
import sys
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any

Listener = Callable[[str], None]

_installing = threading.Lock()


def listen(stream: Any, listener: Listener) -> Callable[[], None]:
    """Call ``listener`` with every text that is written to ``stream`` from now on, and return what ends this.

    The listener runs after the write, in the writing thread, and must not raise. ``TypeError`` or ``AttributeError``
    where a stream's methods cannot be replaced.
    """
    with _installing:
        tap = getattr(vars(stream).get("write"), "tap", None) or Tap(stream)
        tap.listeners = (*tap.listeners, listener)
    return lambda: _end(tap, listener)


def _end(tap: Tap, listener: Listener) -> None:
    with _installing:
        tap.listeners = tuple(other for other in tap.listeners if other is not listener)
        if not tap.listeners:
            tap.remove()


class Tap:
    """The replaced methods of one stream. Removing it restores only what nobody else has replaced since."""

    def __init__(self, stream: Any) -> None:
        self.listeners: tuple[Listener, ...] = ()
        self._replaced: list[tuple[Any, str, Any]] = []
        buffer = _buffer_of(stream)
        if buffer is not None:
            # Text reaches the buffer through the stream's own write and flush; only other writes to it are news.
            decoder = codecs.getincrementaldecoder(stream.encoding)(errors="replace")
            self._replace(buffer, "write", _tapped_bytes(self, buffer.write, decoder))
            self._replace(stream, "flush", _tapped_flush(stream.flush))
        self._replace(stream, "write", _tapped_text(self, stream.write))

    def remove(self) -> None:
        """Give the stream its methods back, except where another has put its own on top and still calls ours."""
        for target, name, function in reversed(self._replaced):
            if vars(target).get(name) is function:
                if function.before is None:
                    delattr(target, name)
                else:
                    setattr(target, name, function.before)

    def _replace(self, target: Any, name: str, function: Any) -> None:
        function.tap = self
        function.before = vars(target).get(name)
        setattr(target, name, function)
        self._replaced.append((target, name, function))


def _buffer_of(stream: Any) -> Any:
    """The buffer of a text stream whose own writes to it can be told from those of others, else ``None``."""
    if not isinstance(stream, io.TextIOWrapper) or {"write", "flush"} & vars(stream).keys():
        return None
    own = type(stream).write is io.TextIOWrapper.write and type(stream).flush is io.TextIOWrapper.flush
    buffer = stream.buffer
    return buffer if own and hasattr(buffer, "__dict__") and "write" not in vars(buffer) else None


def _tapped_text(tap: Tap, original: Callable[[str], Any]) -> Callable[[str], Any]:
    def write(text: str, /) -> Any:
        written = original(text)
        for listener in tap.listeners:
            listener(text)
        return written

    return write


def _tapped_flush(original: Callable[[], Any]) -> Callable[[], Any]:
    def flush() -> Any:
        return original()

    return flush


def _tapped_bytes(tap: Tap, original: Callable[[Any], Any], decoder: codecs.IncrementalDecoder) -> Callable[[Any], Any]:
    def write(data: Any, /) -> Any:
        written = original(data)
        if tap.listeners and sys._getframe(1).f_code not in _OWN:
            text = decoder.decode(bytes(data)[:written])
            for listener in tap.listeners:
                listener(text)
        return written

    return write


def _code_inside(maker: Any) -> CodeType:
    return next(constant for constant in maker.__code__.co_consts if isinstance(constant, CodeType))


_OWN = {_code_inside(_tapped_text), _code_inside(_tapped_flush)}
