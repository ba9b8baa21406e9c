"""Listening to ``logging`` without a handler.

A handler on the root logger would change programs: ``basicConfig`` does nothing once there is one, warnings of a
program without any handler would no longer reach stderr, ``dictConfig`` would throw ours away, and loggers that do not
propagate would be missed. So ``Logger.callHandlers``, through which every enabled record passes once, is wrapped.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Protocol

from tracker.record.terminal import plain

_formatter = logging.Formatter()
_installing = threading.Lock()
_listeners: tuple[LogListener, ...] = ()
_wrapper: Any = None  # in use, perhaps below somebody else's


class LogListener(Protocol):
    """Who wants to know of log records. Nothing here may raise."""

    def before(self, record: logging.LogRecord) -> None:
        """The handlers are about to get this record, in this thread."""

    def after(self, record: logging.LogRecord) -> None:
        """The handlers got it, or failed."""


def listen(listener: LogListener) -> None:
    """Tell ``listener`` of every record from now on."""
    global _listeners
    with _installing:
        _listeners = (*_listeners, listener)
        if _wrapper is None:
            _wrap()


def end(listener: LogListener) -> None:
    """Tell it no more; the last one to go unwraps ``callHandlers`` unless someone has wrapped it again since."""
    global _listeners, _wrapper
    with _installing:
        _listeners = tuple(other for other in _listeners if other is not listener)
        in_use: Any = logging.Logger.callHandlers
        if not _listeners and _wrapper is not None and in_use is _wrapper:
            logging.Logger.callHandlers = in_use.original  # type: ignore[method-assign]
            _wrapper = None


def text_of(record: logging.LogRecord) -> str:
    """Logger, message and traceback. A message that a formatter has made is taken: making it again may have effects."""
    message = record.__dict__.get("message")
    if not isinstance(message, str):
        message = record.getMessage()
    parts = [message if record.name == "root" else f"{record.name}: {message}"]
    if record.exc_info and not record.exc_text:
        parts.append(_formatter.formatException(record.exc_info))
    parts += [text for text in (record.exc_text, record.stack_info) if text]
    return plain("\n".join(parts))


def _wrap() -> None:
    global _wrapper
    original = logging.Logger.callHandlers

    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        listeners = _listeners
        for listener in listeners:
            listener.before(record)
        try:
            original(self, record)
        finally:
            for listener in listeners:
                listener.after(record)

    call_handlers.original = original  # type: ignore[attr-defined]
    logging.Logger.callHandlers = _wrapper = call_handlers  # type: ignore[method-assign]
