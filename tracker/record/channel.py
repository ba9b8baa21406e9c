"""One stream of captured output on its way to the store: repeats collapse, what is too long is cut and counted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import NamedTuple

from tracker.record.terminal import Line, Terminal

Emit = Callable[[str, str | None, str], None]
"""Takes stream, level and text of one line, in the context of whoever wrote it."""


class Limits(NamedTuple):
    """How much of a stream is kept: bytes of UTF-8 per line, in all, and of its end once that is used up."""

    line_bytes: int
    total_bytes: int
    tail_bytes: int


class _Entry(NamedTuple):
    level: str | None
    text: str
    size_bytes: int
    context: Context


class Channel:
    """Lines of one stream. Not thread-safe; ``emit`` may raise, what it raises is passed on.

    Of equal lines in a row the first is emitted at once, the others as one line with their number. Once ``total_bytes``
    are emitted, the stream's last lines are kept back for `close`, which also says how many in between were lost.
    """

    def __init__(self, stream: str, emit: Emit, limits: Limits) -> None:
        self.stream = stream
        self.lost: Counter[str] = Counter()
        self._emit = emit
        self._limits = limits
        self._terminal = Terminal(max_columns=limits.line_bytes)
        self._last: tuple[str | None, str] | None = None
        self._repeats = 0
        self._repeated_by: Context | None = None
        self._fresh = False  # a repeat came since the last tick
        self._room_bytes = limits.total_bytes
        self._tail: deque[_Entry] = deque()
        self._tail_bytes = 0

    def write(self, text: str, context: Context | None = None) -> None:
        """Take text as it is written to the stream, with the context of the writer."""
        for line in self._terminal.feed(text, context):
            self._line(line)

    def record(self, level: str, text: str, context: Context) -> None:
        """Take a whole record that has a level; it may have several lines."""
        self._take(level, text, context)

    def tick(self) -> None:
        """Emit what rests since the last tick."""
        for line in self._terminal.tick():
            self._line(line)
        fresh, self._fresh = self._fresh, False
        if not fresh:
            self._end_repeats()

    def flush(self) -> None:
        """Emit everything that is held back but for the kept end of an overlong stream."""
        for line in self._terminal.flush():
            self._line(line)
        self._end_repeats()

    def close(self) -> None:
        """Emit everything, with a line on what was lost and the kept end behind it."""
        self.flush()
        tail, self._tail, self._tail_bytes = self._tail, deque(), 0
        if not tail:
            return
        lines, size = self.lost["lines"], self.lost["bytes"]
        if lines:
            note = f"[{lines} lines ({size} bytes) of {self.stream} were not kept]"
            tail[0].context.run(self._emit, self.stream, None, note)
        for entry in tail:
            entry.context.run(self._emit, self.stream, entry.level, entry.text)

    def pending(self) -> str:
        """The unfinished line."""
        return self._terminal.pending()

    def _line(self, line: Line) -> None:
        context = line.mark if isinstance(line.mark, Context) else copy_context()
        if line.continues:
            self._end_repeats()
            self._last = None
        self._take(None, line.text, context, line.lost_chars)

    def _take(self, level: str | None, text: str, context: Context, lost_chars: int = 0) -> None:
        if (level, text) == self._last and not lost_chars:
            self._repeats += 1
            self._repeated_by, self._fresh = context, True
            return
        if self._repeats:
            self._end_repeats()
        self._last = (level, text)
        self._keep(level, text, context, lost_chars)

    def _end_repeats(self) -> None:
        count, self._repeats = self._repeats, 0
        if count and self._last and self._repeated_by:
            level, text = self._last
            text = text if count == 1 else f"[previous line repeated {count} more times]"
            self._keep(level, text, self._repeated_by, 0)

    def _keep(self, level: str | None, text: str, context: Context, lost_chars: int) -> None:
        size = len(text)
        if lost_chars or size > self._limits.line_bytes or not text.isascii():
            text, size = self._fit(text, lost_chars)
        if size <= self._room_bytes and not self._tail:
            self._room_bytes -= size
            context.run(self._emit, self.stream, level, text)
            return
        if not self._tail and not self.lost["lines"]:
            note = f"[{self.stream} is over {self._limits.total_bytes} bytes: from here on only its end is kept]"
            context.run(self._emit, self.stream, None, note)
        self._hold_back(_Entry(level, text, size, context))

    def _hold_back(self, entry: _Entry) -> None:
        self._tail.append(entry)
        self._tail_bytes += entry.size_bytes
        while self._tail_bytes > self._limits.tail_bytes and len(self._tail) > 1:
            gone = self._tail.popleft()
            self._tail_bytes -= gone.size_bytes
            self.lost["lines"] += 1
            self.lost["bytes"] += gone.size_bytes

    def _fit(self, text: str, lost_chars: int) -> tuple[str, int]:
        """The text as storable UTF-8 with its size; of an overlong one its beginning and its end."""
        data = text.encode("utf-8", "backslashreplace")
        limit = self._limits.line_bytes
        if len(data) > limit:
            head, tail = data[: limit // 2].decode("utf-8", "ignore"), data[-(limit // 2) :].decode("utf-8", "ignore")
            cut = max(len(text) - len(head) - len(tail), 0) + lost_chars
            text = f"{head} … [{cut} characters were not kept] … {tail}"
        elif lost_chars:
            cut = lost_chars
            text = f"{text} … [{cut} characters were not kept]"
        else:
            return data.decode(), len(data)
        self.lost["characters"] += cut
        return text, len(text.encode("utf-8", "backslashreplace"))
