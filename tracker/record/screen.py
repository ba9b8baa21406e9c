"""The rows of a terminal that may still change, and the cursor and escape sequences that change them. Pure."""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

from tracker.record.cells import TAB_STOP, Row

WINDOW_ROWS = 64  # how far up the cursor can go; no terminal in use is much higher
_MAX_SEQUENCE_CHARS = 4096  # an escape sequence that is longer is text that only looked like one

_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<arguments>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b(?![\[\]PX^_])[ -/]*[0-~]"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)")
_ALTERNATE_SCREEN = {"47", "1047", "1049"}


class Line(NamedTuple):
    """A line as it is given out.

    ``row`` counts rows since the start, ``mark`` was taken when it was written, ``lost_chars`` did not fit into the
    row, and ``continues`` says that the text goes on where the last line of the same row was cut.
    """

    text: str
    row: int
    mark: object
    lost_chars: int = 0
    continues: bool = False


class Screen:
    """Rows that are being written over, held until they are final. At most ``WINDOW_ROWS`` rows of ``limit`` cells."""

    def __init__(self, above: deque[str], limit: int) -> None:
        self.above = above  # rows that were given out and are still in reach of the cursor
        self.rows: list[Row] = []
        self.x = self.y = 0
        self._limit = limit
        self._number = 0  # of the first row
        self._mark: object = None
        self._unread = ""  # the beginning of an escape sequence
        self._hidden = False  # the cursor: programs that redraw hide it meanwhile
        self._away = False  # on the alternate screen
        self._returned = False  # a carriage return came last

    def begin(self, row: Row) -> None:
        """Start with one row and the cursor behind its text."""
        self.rows, self._number, self.y, self.x = [row], row.number, 0, len(row.cells)

    def is_flat(self) -> bool:
        """Whether nothing is held: one row that was only appended to, with the cursor at its end."""
        row = self.rows[0]
        if (
            len(self.rows) > 1
            or row.rewritten
            or self.x != len(row.cells)
            or (row.given is not None and not row.partial)
        ):
            return False
        return not (self._hidden or self._away or self._returned or self._unread)

    def write(self, text: str, mark: object, lines: list[Line]) -> None:
        """Do what ``text`` says and add the lines that became final."""
        self._mark = mark
        text, self._unread = self._unread + text, ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b" and _UNFINISHED.fullmatch(text, at):
                if len(text) - at <= _MAX_SEQUENCE_CHARS:
                    self._unread = text[at:]
                    return
                at += 1
                continue
            token = _TOKEN.match(text, at)
            assert token is not None, "every character is the beginning of a token"
            at = token.end()
            self._obey(token, lines)

    def tick(self, lines: list[Line]) -> None:
        """Add the rows above the cursor that nobody touched since the last tick, from the first one on."""
        while self.y and not self.rows[0].fresh:
            self._settle(1, lines)
        for row in self.rows:
            row.fresh = False

    def flush(self, lines: list[Line]) -> None:
        """Add every row that has something new, and keep it: it may still change."""
        for at, row in enumerate(self.rows):
            if row.cells or at < self.y:
                self._give(row, lines)
                row.partial = at == self.y and not row.rewritten

    def _obey(self, token: re.Match[str], lines: list[Line]) -> None:
        kind = token.lastgroup
        if kind == "final":
            self._sequence(token["final"], token["arguments"], lines)
        elif self._away:
            return
        elif kind == "text":
            self._put(token["text"])
        elif kind == "control":
            self._control(token["control"], lines)

    def _put(self, text: str) -> None:
        row = self.rows[self.y]
        row.rewritten |= self._returned
        self._returned = False
        row.fresh, row.mark = True, self._mark
        self.x = row.put(self.x, text)

    def _control(self, char: str, lines: list[Line]) -> None:
        if char in "\n\v\f":
            self._newline(lines)
        elif char == "\r":
            self.x, self._returned = 0, True
        elif char == "\b":
            self.x = max(self.x - 1, 0)
        elif char == "\t" and self.x >= len(self.rows[self.y].cells):
            self._put(char)
        elif char == "\t":
            self.x += TAB_STOP - self.x % TAB_STOP

    def _newline(self, lines: list[Line]) -> None:
        row, last = self.rows[self.y], self.y + 1 == len(self.rows)
        # A blank line under a held row is held too: nested progress bars step over rows that they have not drawn yet.
        held = self._hidden or row.rewritten or (self.y > 0 and not row.cells)
        if last:
            self.rows.append(Row(self._number + len(self.rows), self._limit, mark=self._mark))
        row.mark = self._mark
        self.x, self._returned = 0, False
        self.y += 1
        if last and not held:
            self._settle(self.y, lines)
        while len(self.above) + len(self.rows) > WINDOW_ROWS:
            if not self.above:
                self._settle(1, lines)
            self.above.popleft()

    def _settle(self, count: int, lines: list[Line]) -> None:
        """Give out the first rows and leave them to the cursor's reach only."""
        for row in self.rows[:count]:
            self._give(row, lines)
            self.above.append(row.text())
        del self.rows[:count]
        self._number += count
        self.y -= count

    def _give(self, row: Row, lines: list[Line]) -> None:
        text, given = row.text(), row.given
        continues = given is not None and row.partial and text.startswith(given)
        row.given, row.partial = text, False
        if text not in ("", given) or (given is None and not row.rewritten):
            new = text[len(given or "") :] if continues else text
            lines.append(Line(new, row.number, row.mark, row.beyond, continues))

    def _sequence(self, final: str, arguments: str, lines: list[Line]) -> None:
        if final in "hl" and arguments.startswith("?"):
            self._mode(set(arguments[1:].split(";")), final == "h", lines)
        elif not self._away and arguments[:1] not in ("<", "=", ">", "?"):
            self._edit(final, [int(text[:6]) if text[:6].isdecimal() else 0 for text in arguments.split(";")])

    def _mode(self, modes: set[str], on: bool, lines: list[Line]) -> None:
        if "25" in modes:
            self._hidden = not on
            if on:
                self._settle(self.y, lines)
        if modes & _ALTERNATE_SCREEN:
            self._away = on

    def _edit(self, final: str, numbers: list[int]) -> None:
        number = numbers[0]
        if final in "JK":
            self._erase(final, number)
        elif final in "ABCDEFGHf":
            self._returned = False
            self._move_rows(final, number)
            self._move_columns(final, number, numbers)

    def _move_rows(self, final: str, number: int) -> None:
        if final in "AF":
            self._move(-(number or 1))
        elif final in "BE":
            self._move(number or 1)
        elif final in "Hf":
            self._move(-WINDOW_ROWS)
            self._move(max(number, 1) - 1)

    def _move_columns(self, final: str, number: int, numbers: list[int]) -> None:
        if final in "EF":
            self.x = 0
        elif final in "CD":
            self.x += (number or 1) * (1 if final == "C" else -1)
        elif final in "GHf":
            self.x = (number if final == "G" else [*numbers, 0][1]) - 1
        self.x = min(max(self.x, 0), self._limit)

    def _move(self, count: int) -> None:
        """Move the cursor down, or up where negative, within the window; rows that come into reach are held again."""
        self.y += count
        while self.y < 0 and self.above:
            self._number -= 1
            row = Row(self._number, self._limit)
            row.put(0, self.above.pop())
            row.given, row.fresh = row.text(), False
            self.rows.insert(0, row)
            self.y += 1
        self.y = min(max(self.y, 0), WINDOW_ROWS - 1 - len(self.above))
        while len(self.rows) <= self.y:
            blank = Row(self._number + len(self.rows), self._limit, mark=self._mark)
            blank.rewritten = True  # so that it counts only once something is written there
            self.rows.append(blank)

    def _erase(self, final: str, part: int) -> None:
        row = self.rows[self.y]
        row.fresh, row.mark = True, self._mark
        row.erase(self.x if part == 0 else 0, self.x + 1 if part == 1 else None)
        if final == "J":
            below, above = self.rows[self.y + 1 :], self.rows[: self.y]
            for other in below if part == 0 else above if part == 1 else above + below:
                other.erase(0)
            if part:
                count = len(self.above)
                self.above.clear()
                self.above.extend([""] * count)
