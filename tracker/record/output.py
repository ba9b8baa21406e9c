"""Captured output: what a program prints and logs, line by line, as it runs.

Streams are listened to, not replaced (`taps`), and so is ``logging`` (`log_records`). What a logging handler writes to
stdout or stderr while a record passes through it is not captured a second time: the record is, with its level. (A
handler that writes in a thread of its own, behind a ``QueueHandler``, is not recognised and its lines come twice.)

In IPython and notebooks the streams are left alone: the kernel owns them and the notebook keeps what they show. Log
records are captured there too.
"""

from __future__ import annotations

import logging as std_logging
import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextvars import Context, copy_context
from types import FrameType
from typing import Any, Self
from weakref import WeakSet

from tracker.record import log_records, taps
from tracker.record.channel import Channel, Emit, Limits

MAX_LINE_BYTES = 1 << 14
MAX_TOTAL_BYTES = 1 << 26
TAIL_BYTES = 1 << 16
_MAX_FRAGMENTS = 64  # pieces of an unfinished line that wait before they are looked at
_MAX_WAITING = 10_000  # texts that other threads wrote while one of them records
_MAX_PROBLEMS = 20
_STOP_PATIENCE_S = 1.0


class OutputCapture:
    """Listens to stdout, stderr and ``logging`` and calls ``emit(stream, level, text)`` for every finished line.

    ``emit`` runs in the ``contextvars`` context of whoever finished the line, as a rule in the same thread. No thread
    ever waits: while one records, the others leave their text to it, and so does a signal handler or destructor that
    interrupts it. What ``emit`` itself prints or logs is not captured. Nothing that fails here reaches the program; it
    is counted in `problems`.

    The owner calls `tick` about once a second. After a fork the child goes on capturing, without what the parent began.

    >>> lines = []
    >>> with OutputCapture(lambda stream, level, text: lines.append((stream, level, text)), stdout=False, stderr=False):
    ...     std_logging.getLogger("train").error("loss is %s", float("nan"))
    >>> lines
    [('logging', 'ERROR', 'train: loss is nan')]
    """

    def __init__(
        self,
        emit: Emit,
        *,
        stdout: bool = True,
        stderr: bool = True,
        logging: bool = True,
        logging_level: int = std_logging.NOTSET,
        max_line_bytes: int = MAX_LINE_BYTES,
        max_total_bytes: int = MAX_TOTAL_BYTES,
        tail_bytes: int = TAIL_BYTES,
    ) -> None:
        streams = {"stdout": stdout, "stderr": stderr, "logging": logging}
        self._emit = emit
        self._limits = Limits(max_line_bytes, max_total_bytes, tail_bytes)
        self._channels = {name: Channel(name, self._guarded_emit, self._limits) for name, on in streams.items() if on}
        self._logging_level = logging_level
        self._endings: list[Callable[[], None]] = []
        self._problems: Counter[str] = Counter()
        self._recording = threading.Lock()
        self._waiting: deque[tuple[str, Any, Context | None]] = deque()  # channel, text or record, context
        self._emitting = 0  # the thread that is inside emit
        self._in_handlers: set[int] = set()  # threads that a record is passing through the handlers in
        _captures.add(self)

    def start(self) -> Self:
        """Begin to listen. A stream that cannot be listened to is a problem, not an error."""
        if self._endings:
            return self
        for name in () if in_ipython() else ("stdout", "stderr"):
            stream = getattr(sys, name)
            shared = name == "stderr" and "stdout" in self._channels and stream is sys.stdout
            if name in self._channels and stream is not None and not shared:
                self._listen(name, stream)
        if "logging" in self._channels:
            log_records.listen(self)
            self._endings.append(lambda: log_records.end(self))
        return self

    def stop(self) -> None:
        """Stop listening and emit what is held back; what others installed since stays. Idempotent."""
        endings, self._endings = self._endings, []
        for end in endings:
            end()
        if endings:
            self._settle(Channel.close, patience_s=_STOP_PATIENCE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def tick(self) -> None:
        """Emit what did not change since the last tick: unfinished lines, counts of repeats. Does not wait."""
        if self._waiting and not self._somebody_records():
            self._recording = threading.Lock()
        self._settle(Channel.tick, patience_s=0)

    def flush(self) -> None:
        """Emit everything so far, also the present frame of a progress bar."""
        self._settle(Channel.flush, patience_s=_STOP_PATIENCE_S)

    @property
    def problems(self) -> dict[str, int]:
        """What went wrong, with how often."""
        return dict(self._problems)

    @property
    def lost(self) -> dict[str, int]:
        """What was cut off for its size: ``<stream>.lines``, ``.bytes`` and ``.characters``."""
        return {
            f"{name}.{unit}": count for name, channel in self._channels.items() for unit, count in channel.lost.items()
        }

    def pending(self) -> dict[str, str]:
        """The unfinished line of each stream, as progress bars show it."""
        return {name: text for name, channel in self._channels.items() if (text := channel.pending())}

    def before(self, record: std_logging.LogRecord) -> None:
        """A record is about to reach the handlers: what they write in this thread is the record once more."""
        if record.levelno >= self._logging_level:
            self._in_handlers.add(threading.get_ident())

    def after(self, record: std_logging.LogRecord) -> None:
        """The handlers are done with a record."""
        if record.levelno < self._logging_level:
            return
        self._in_handlers.discard(threading.get_ident())
        if self._is_echo():
            return
        self._waiting.append(("logging", record, copy_context()))
        self._work()

    def _listen(self, name: str, stream: Any) -> None:
        waiting, in_handlers, ident = self._waiting, self._in_handlers, threading.get_ident

        def hear(text: str) -> None:
            if (self._emitting and self._is_echo()) or (in_handlers and ident() in in_handlers):
                return
            if "\n" in text:
                waiting.append((name, text, copy_context()))
                self._work()
            else:
                waiting.append((name, text, None))
                if len(waiting) > _MAX_FRAGMENTS:
                    self._work()

        try:
            self._endings.append(taps.listen(stream, hear))
        except (AttributeError, TypeError) as exc:
            self._problem(f"{name} cannot be listened to ({type(stream).__name__}): {exc}")

    def _is_echo(self) -> bool:
        """Whether this thread is inside ``emit``: recording that too would never end."""
        if self._emitting != threading.get_ident():
            return False
        self._problem("text that was written while a line was being recorded is not kept")
        return True

    def _work(self) -> None:
        """Record what waits, unless somebody does already: then it is left to them. Never waits, never raises."""
        lock, waiting = self._recording, self._waiting
        while waiting:
            if not lock.acquire(False):
                if len(waiting) > _MAX_WAITING:
                    waiting.clear()
                    self._problem("text that came faster than it could be recorded is not kept")
                return
            try:
                self._take_all()
            except Exception as exc:  # noqa: BLE001  an error in recording must not become one of the program
                self._problem(f"{type(exc).__name__}: {exc}")
            finally:
                lock.release()

    def _take_all(self) -> None:
        """Feed the channels; pieces that follow each other on one stream are put together first."""
        waiting, pieces = self._waiting, []
        while waiting:
            name, item, context = waiting.popleft()
            if name == "logging":
                self._channels[name].record(item.levelname, log_records.text_of(item), context or copy_context())
                continue
            pieces.append(item)
            if context is not None or not waiting or waiting[0][0] != name:
                text = pieces[0] if len(pieces) == 1 else "".join(pieces)
                pieces = []
                self._channels[name].write(text, context)

    def _settle(self, act: Callable[[Channel], None], *, patience_s: float) -> None:
        """Do something with every channel; if someone still records after ``patience_s``, not at all or regardless."""
        self._work()
        lock = self._recording
        owned = lock.acquire(timeout=patience_s) if patience_s else lock.acquire(False)
        if not owned and not patience_s:
            return
        try:
            for channel in self._channels.values():
                try:
                    act(channel)
                except Exception as exc:  # noqa: BLE001  as in _work, and the other channels are still due
                    self._problem(f"{type(exc).__name__}: {exc}")
        finally:
            if owned:
                lock.release()
        self._work()

    def _guarded_emit(self, stream: str, level: str | None, text: str) -> None:
        self._emitting = threading.get_ident()
        try:
            self._emit(stream, level, text)
        finally:
            self._emitting = 0

    def _somebody_records(self) -> bool:
        """Whether the lock is free or its holder still runs.

        A KeyboardInterrupt between taking the lock and the ``try`` behind it leaves it locked for good.
        """
        return not self._recording.locked() or any(_is_recording(frame) for frame in sys._current_frames().values())

    def _problem(self, text: str) -> None:
        if text in self._problems or len(self._problems) < _MAX_PROBLEMS:
            self._problems[text] += 1
        else:
            self._problems["further problems"] += 1

    def _after_fork(self) -> None:
        """Forget what the parent's threads were doing; their unfinished lines are the parent's."""
        self._recording = threading.Lock()
        self._waiting.clear()
        self._in_handlers.clear()
        self._emitting = 0
        self._channels = {name: Channel(name, self._guarded_emit, self._limits) for name in self._channels}


def in_ipython() -> bool:
    """Whether this process is a notebook kernel or an IPython shell."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython is not None and get_ipython() is not None


def _is_recording(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _RECORDING:
            return True
        frame = frame.f_back
    return False


_RECORDING = {function.__code__ for function in (OutputCapture._work, OutputCapture._settle)}
_captures: WeakSet[OutputCapture] = WeakSet()


def _renew_after_fork() -> None:
    for capture in list(_captures):
        capture._after_fork()


os.register_at_fork(after_in_child=_renew_after_fork)
