"""One row of a terminal as cells that can be written over. Pure data, no streams."""

from __future__ import annotations

import unicodedata

TAB_STOP = 8
_MAX_STACKED_CHARS = 8  # combining marks kept on one cell; text that stacks more is noise or an attack


def cells_of(text: str, *, column: int = 0) -> list[str]:
    """The cells that ``text`` takes from ``column`` on: a wide character or a tab is followed by empty cells."""
    if text.isascii() and "\t" not in text:
        return list(text)
    cells: list[str] = []
    for char in text:
        width = _width(char, column + len(cells))
        if width:
            cells.append(char)
            cells.extend([""] * (width - 1))
        else:
            _stack(cells, char)
    return cells


def _width(char: str, column: int) -> int:
    if char < "\x7f":
        return TAB_STOP - column % TAB_STOP if char == "\t" else 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _stack(cells: list[str], char: str) -> None:
    """Put a combining mark on the last character; one without a character before it is dropped."""
    for at in range(len(cells) - 1, -1, -1):
        if cells[at]:
            if len(cells[at]) < _MAX_STACKED_CHARS:
                cells[at] += char
            return


class Row:
    """A row of cells with what is known about its past.

    ``given`` is the text that was already handed out for this row, ``partial`` whether it was still being written then,
    ``rewritten`` whether the cursor ever went back over it, ``beyond`` how many cells did not fit into ``limit``.
    """

    __slots__ = ("beyond", "cells", "fresh", "given", "limit", "mark", "number", "partial", "rewritten")

    def __init__(self, number: int, limit: int, *, mark: object = None) -> None:
        self.number = number
        self.limit = limit
        self.mark = mark
        self.cells: list[str] = []
        self.given: str | None = None
        self.partial = False
        self.rewritten = False
        self.fresh = True
        self.beyond = 0

    def text(self) -> str:
        """What the row shows; padding that was written to hide an earlier frame is stripped."""
        shown = "".join(self.cells)
        return shown.rstrip(" ") if self.rewritten else shown

    def put(self, x: int, text: str) -> int:
        """Write ``text`` at column ``x`` and return the column behind it."""
        new = cells_of(text, column=x)
        if x < len(self.cells):
            self.rewritten = True
        room = max(self.limit - x, 0)
        self.beyond = max(self.beyond, len(new) - room)
        self._replace(x, new[:room])
        return min(x + len(new), self.limit)

    def erase(self, start: int, stop: int | None = None) -> None:
        """Blank the cells from ``start`` up to ``stop`` (``None``: to the end of the row)."""
        self.rewritten = True
        if stop is None:
            self._replace(start, [])
            del self.cells[start:]
        else:
            self._replace(start, [" "] * max(min(stop, len(self.cells)) - start, 0))

    def _replace(self, x: int, new: list[str]) -> None:
        self.cells.extend([" "] * (x - len(self.cells)))
        end = x + len(new)
        self._split(x)
        self._split(end)
        self.cells[x:end] = new

    def _split(self, x: int) -> None:
        """Blank a wide character or tab that reaches over the edge before column ``x``: half of it is about to go."""
        if not 0 < x < len(self.cells) or self.cells[x]:
            return
        start = x
        while start and not self.cells[start]:
            start -= 1
        stop = x
        while stop < len(self.cells) and not self.cells[stop]:
            stop += 1
        self.cells[start:stop] = [" "] * (stop - start)
