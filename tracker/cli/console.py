"""What people see: tables that fit their terminal, colours only where they help, plain aligned text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 100_000  # nothing is cut where a program reads
STATUS_STYLES = {
    "running": "cyan",
    "finished": "green",
    "failed": "red",
    "killed": "red",
    "preempted": "yellow",
    "lost": "magenta",
}


class _Out(Console):
    def on_broken_pipe(self) -> None:
        """Let ``main`` decide how the command ends."""
        raise BrokenPipeError


@lru_cache(maxsize=1)
def _console(stream: IO[str], terminal: bool) -> _Out:
    width = None if terminal else _PIPE_WIDTH
    return _Out(
        file=None if stream is sys.stdout else stream,
        highlight=False,
        emoji=False,
        markup=False,
        soft_wrap=not terminal,
        width=width,
    )


def console() -> Console:
    """The console of stdout as it is now."""
    return _console(sys.stdout, sys.stdout.isatty())


@dataclass(frozen=True)
class Column:
    """One column of a table. Where there is no room, columns of higher ``rank`` give way first."""

    head: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = False
    style: Callable[[str], str] | None = None

    @property
    def width(self) -> int:
        return max(cell_len(text) for text in (self.head, *self.cells))


def print_table(columns: Sequence[Column], file: IO[str] | None = None) -> list[str]:
    """Print a table of the columns that fit, and give the heads of those that do not; into a file all of them."""
    shown = fitting(columns, console().width) if file in {None, sys.stdout} else list(columns)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in shown:
        table.add_column(
            escape(column.head), justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis"
        )
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*(_cell(column, text) for column, text in zip(shown, row, strict=True)))
    _print_lines(table, file)
    return [column.head for column in columns if column not in shown]


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit beside one another; of equal rank the right-most gives way first, of rank 0 none does."""
    shown = list(columns)
    while _total(shown) > width:
        spare = [column for column in shown if column.rank > 0]
        if not spare:
            break
        highest = max(column.rank for column in spare)
        shown.remove([column for column in spare if column.rank == highest][-1])
    return shown


def _total(columns: Sequence[Column]) -> int:
    return sum(column.width + 2 for column in columns) - 2


def _cell(column: Column, text: str) -> Text:
    return Text(text, style=column.style(text) if column.style else "")


def _print_lines(table: Table, file: IO[str] | None = None) -> None:
    """Print without the spaces that pad the last column."""
    out = console() if file in {None, sys.stdout} else _console(file, False)
    with out.capture() as captured:
        out.print(table)
    for line in captured.get().splitlines():
        out.file.write(line.rstrip() + "\n")


def status_style(status: str) -> str:
    """The style of a status."""
    return STATUS_STYLES.get(status, "")


def say(text: str = "", style: str = "") -> None:
    """Print a line."""
    console().print(Text(text, style=style))


def title(text: str) -> None:
    """Print the head of a section."""
    say(text, "bold")


def pairs(items: Sequence[tuple[str, str]]) -> None:
    """Print names and values below one another, the values aligned; wrapped under themselves where they are long."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in items:
        grid.add_row(Text(f"  {name}"), Text(value))
    _print_lines(grid)
