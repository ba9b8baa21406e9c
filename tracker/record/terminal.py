"""The line discipline of captured output: what a terminal would show of a stream, as finished lines.

Progress bars rewrite their line (carriage return, backspace, erase) or their lines (cursor up); only what stands
there in the end is a line of output. So a plain line is given out the moment its newline arrives, and a line that was
written over is held until something shows that it is final: a plain line below it, the cursor shown again, rest
(`tick`), the end (`flush`).

Known: ``\\n \\r \\b \\t``, the cursor up, down, left, right, to a line, column or position, hidden and shown, erase in
line and in display, and the alternate screen, whose text is not captured. Colours, titles and the rest are dropped.
Lines are not wrapped: a terminal as wide as its longest line, ``WINDOW_ROWS`` high.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence

from tracker.record.cells import Row
from tracker.record.screen import WINDOW_ROWS, Line, Screen

__all__ = ["MAX_COLUMNS", "WINDOW_ROWS", "Line", "Terminal", "plain"]

MAX_COLUMNS = 1 << 16
_SPECIAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Terminal:
    """Turns written text into finished lines. Not thread-safe; memory is bounded by its columns and rows.

    The mark that comes with a text comes back with the lines that this text finished or rewrote.

    >>> terminal = Terminal()
    >>> [line.text for line in terminal.feed("\\r10%\\r20%\\rdone\\nnext\\n")]
    ['done', 'next']
    """

    def __init__(self, *, max_columns: int = MAX_COLUMNS) -> None:
        self._limit = max_columns
        self._above: deque[str] = deque(maxlen=WINDOW_ROWS - 1)
        self._screen = Screen(self._above, max_columns)
        self._fresh = False  # something was written since the last tick
        # Nearly all output is only appended to. While it is, the screen is idle and the row is these fields.
        self._flat = True
        self._number = 0
        self._mark: object = None
        self._given = ""  # what was already given out of the row
        self._parts: list[str] = []
        self._length = 0

    def feed(self, text: str, mark: object = None) -> Sequence[Line]:
        """Take written text and return the lines that it finished, in order."""
        self._fresh = True
        if mark is not None:
            self._mark = mark
        if self._flat:
            if text.isprintable():
                self._append(text)
                return ()
            if text[-1] == "\n" and (whole := text[:-1]).isprintable():
                self._append(whole)
                return self._finish()
            if not _SPECIAL.search(text):
                return self._feed_plain(text)
            self._hold()
        lines: list[Line] = []
        self._screen.write(text, self._mark, lines)
        self._let_go()
        return lines

    def tick(self) -> Sequence[Line]:
        """Return what has not changed since the last tick: rows above the cursor, and an unfinished plain row.

        Call it about once a second. A row that is being written over is not final however long it rests.
        """
        fresh, self._fresh = self._fresh, False
        if self._flat:
            return () if fresh else self._cut()
        lines: list[Line] = []
        self._screen.tick(lines)
        self._let_go()
        return lines

    def flush(self) -> Sequence[Line]:
        """Return everything that is not given out yet, finished or not; writing may go on afterwards."""
        if self._flat:
            return self._cut()
        lines: list[Line] = []
        self._screen.flush(lines)
        return lines

    def pending(self) -> str:
        """The text of the row with the cursor, for showing progress."""
        return self._given + "".join(self._parts) if self._flat else self._screen.rows[self._screen.y].text()

    def _append(self, text: str) -> None:
        room = self._limit - self._length
        if text and room > 0:
            self._parts.append(text[:room])
        self._length += len(text)

    def _feed_plain(self, text: str) -> list[Line]:
        lines: list[Line] = []
        first, *others = text.split("\n")
        self._append(first)
        for piece in others:
            lines += self._finish()
            self._append(piece)
        return lines

    def _finish(self) -> Sequence[Line]:
        text, given = "".join(self._parts), self._given
        lost_chars = self._length - self._limit
        line = Line(text, self._number, self._mark, lost_chars if lost_chars > 0 else 0, given != "")
        self._above.append(given + text)
        self._number += 1
        self._parts.clear()
        self._length = 0
        self._given = ""
        return (line,) if text or not given else ()

    def _cut(self) -> Sequence[Line]:
        if not self._parts:
            return ()
        text, given = "".join(self._parts), self._given
        self._parts.clear()
        self._given = given + text
        return (Line(text, self._number, self._mark, 0, bool(given)),)

    def _hold(self) -> None:
        """Hand the row to the screen: it is about to be written over."""
        row = Row(self._number, self._limit, mark=self._mark)
        row.put(0, self._given + "".join(self._parts))
        row.beyond = max(self._length - self._limit, 0)
        row.given, row.partial = (self._given, True) if self._given else (None, False)
        self._screen.begin(row)
        self._flat = False

    def _let_go(self) -> None:
        """Take the row back as soon as the screen holds nothing else."""
        if not self._screen.is_flat():
            return
        row = self._screen.rows[0]
        text, self._given = row.text(), row.given or ""
        self._number, self._length = row.number, len(text) + row.beyond
        self._parts = [text[len(self._given) :]] if len(text) > len(self._given) else []
        self._flat = True


def plain(text: str) -> str:
    """A whole text as a terminal would show it: without colours and overwritten parts."""
    if not _SPECIAL.search(text):
        return text
    terminal = Terminal(max_columns=len(text))
    return "\n".join(line.text for line in (*terminal.feed(text), *terminal.flush()))
