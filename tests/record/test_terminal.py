"""The line discipline: what a terminal would show, as finished lines."""

from __future__ import annotations

import io

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress
from tqdm import tqdm

from tracker.record.terminal import WINDOW_ROWS, Line, Terminal


class Writes(io.StringIO):
    """A text stream that keeps every single write, as a terminal would receive it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


COLUMNS = 100


def lines(*writes: str) -> list[str]:
    """The lines that these writes give, the unfinished ones last."""
    terminal = Terminal()
    given = [line for text in writes for line in terminal.feed(text)]
    return [line.text for line in [*given, *terminal.flush()]]


def shown_by_an_emulator(text: str) -> list[str]:
    """What an independent terminal emulator shows, from the first row on, scrolled ones included."""
    screen = pyte.HistoryScreen(COLUMNS, WINDOW_ROWS, history=10_000)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(text)
    past = ["".join(row[column].data for column in range(COLUMNS)) for row in screen.history.top]
    return [row.rstrip() for row in [*past, *screen.display]]


def last_texts(given: list[Line]) -> dict[int, str]:
    """For every row the text that was given last."""
    texts: dict[int, str] = {}
    for line in given:
        texts[line.row] = texts[line.row] + line.text if line.continues else line.text
    return {row: text.rstrip() for row, text in texts.items()}


PIECES = st.one_of(
    st.sampled_from(["\n", "\n", "\r", "\b", "\r\n", "\x1b[A", "\x1b[B", "\x1b[3A", "\x1b[2B", "\x1b[C", "\x1b[4D"]),
    st.sampled_from(["\x1b[2E", "\x1b[2F", "\x1b[3G", "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[J", "\x1b[1J", "\x1b[2J"]),
    st.sampled_from(["\x1b[H", "\x1b[2;3H", "\x1b[31m", "\x1b[?25l", "\x1b[?25h", "\x1b]0;title\x07", "\x1b[999B"]),
    st.text("abxy ", min_size=1, max_size=3),
    st.text("abcé.", min_size=1, max_size=3).map(lambda text: text + "\n"),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=30), st.integers(1, 9), st.integers(1, 9))
def test_agrees_with_a_terminal_emulator(pieces: list[str], size: int, ticks: int) -> None:
    """The last text given for every row is what a terminal shows there, however writes and ticks fall."""
    text, terminal, given_lines = "".join(pieces), Terminal(), []
    for number, at in enumerate(range(0, len(text), size)):
        given_lines += terminal.feed(text[at : at + size])
        given_lines += terminal.tick() if number % ticks == 0 else ()
    given_lines += terminal.flush()

    texts = last_texts(given_lines)
    for row, wanted in enumerate(shown_by_an_emulator(text)):
        assert wanted in ("", texts.get(row)), f"row {row} of {text!r}"


@settings(deadline=None)
@given(st.lists(st.text("ab\n\t\r é漢\u0301", max_size=5)), st.integers(1, 4))
def test_without_rewriting_every_line_comes_once_and_exactly(writes: list[str], ticks: int) -> None:
    """Text that is only appended to is split at its newlines and nothing else happens to it."""
    text = "".join(writes).replace("\r", "")
    terminal, given_lines = Terminal(), []
    for number, write in enumerate(writes):
        given_lines += terminal.feed(write.replace("\r", ""))
        given_lines += terminal.tick() if number % ticks == 0 else ()
    given_lines += terminal.flush()

    joined = "".join(("" if line.continues else "\n") + line.text for line in given_lines)
    assert joined.removeprefix("\n") == text.removesuffix("\n") or text in ("", "\n")


@given(st.text())
def test_takes_any_text(text: str) -> None:
    """No text makes it fail, and the last plain line is always there."""
    terminal = Terminal()
    terminal.feed(text)
    terminal.feed("\x1b\\\x07\x1b[?1049l\x1b[?25h\x1b[999B\nlast\n")

    assert [line.text for line in terminal.flush()] in ([], ["last"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("\n\na\n", ["", "", "a"]),
        ("10%\r20%\rdone\n", ["done"]),
        ("longer\rab\n", ["abnger"]),
        ("\rlonger\rab    \n", ["ab"]),
        ("abc\b\b\bxyz\n", ["xyz"]),
        ("gone\r\x1b[Kkept\n", ["kept"]),
        ("gone\r\x1b[K\nnext\n", ["next"]),
        ("\x1b[1;31mred\x1b[0m\n", ["red"]),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", ["link"]),
        ("a\tb\n", ["a\tb"]),
        ("\rab\tc\r0123456789\n", ["0123456789"]),
        ("\rab\tc\r012\n", ["012     c"]),
        ("\r漢字\rx\n", ["x 字"]),
        ("\re\u0301a\rx\n", ["xa"]),
        ("before\n\x1b[?1049hfull screen\n\x1b[?1049lafter\n", ["before", "after"]),
        ("a\x00b\x1b\x07c\n", ["abc"]),
        ("trailing  \n", ["trailing  "]),
        ("a\x85b\n", ["ab"]),
    ],
)
def test_shows_what_a_terminal_shows(text: str, expected: list[str]) -> None:
    """Control characters act as they do on a terminal."""
    assert lines(text) == expected
    assert lines(*text) == expected


def test_a_plain_line_is_given_at_once() -> None:
    """A finished plain line waits for nothing, also below a finished progress bar."""
    terminal = Terminal()

    assert [line.text for line in terminal.feed("a\n")] == ["a"]
    assert [line.text for line in terminal.feed("\r50%\r100%\n")] == []
    assert [line.text for line in terminal.feed("b\n")] == ["100%", "b"]


@pytest.mark.parametrize("leave", [True, False])
def test_nested_tqdm_bars_leave_their_last_frames(leave: bool) -> None:
    """Two nested bars with messages between them come out as a terminal shows them in the end."""
    stream = Writes()
    for epoch in tqdm(range(2), file=stream, desc="outer", mininterval=0, bar_format="{desc} {n}/{total}"):
        for step in tqdm(
            range(3), file=stream, desc="inner", leave=leave, mininterval=0, bar_format="{desc} {n}/{total}"
        ):
            if step == 1:
                tqdm.write(f"epoch {epoch}", file=stream)

    inner = ["inner 3/3"] if leave else []
    assert lines(*stream.writes) == ["epoch 0", *inner, "epoch 1", *inner, "outer 2/2"]


def test_three_nested_tqdm_bars_collapse() -> None:
    """Bars that step over rows which are not drawn yet leave no blank or early lines."""
    stream = Writes()
    bars = [tqdm(total=2, file=stream, position=at, desc=str(at), bar_format="{desc} {n}") for at in range(3)]
    for bar in bars * 2:
        bar.update()
        bar.refresh()
    for bar in bars:
        bar.close()

    assert [line for line in lines(*stream.writes) if line] == ["0 2", "1 2", "2 2"]


def test_rich_progress_leaves_its_last_frame() -> None:
    """Several live rows, redrawn with cursor movements and printed above of, leave their last frame."""
    stream = Writes()
    console = Console(file=stream, force_terminal=True, width=60)
    with Progress("{task.description} {task.completed}", console=console, auto_refresh=False) as progress:
        tasks = [progress.add_task(name, total=3) for name in "ab"]
        for step in range(3):
            for task in tasks:
                progress.advance(task)
                progress.refresh()
            progress.console.print(f"step {step}")
    console.print("end")

    assert lines(*stream.writes) == ["step 0", "step 1", "step 2", "a 3", "b 3", "end"]


def test_tick_gives_what_rests_and_the_rest_of_the_line_later() -> None:
    """An unfinished plain line is given after a quiet tick; what follows continues it instead of repeating it."""
    terminal = Terminal()
    terminal.feed("loading")
    first, second = terminal.tick(), terminal.tick()
    rest = terminal.feed(" done\n")

    assert (list(first), [line.text for line in second]) == ([], ["loading"])
    assert [(line.text, line.continues) for line in rest] == [(" done", True)]


def test_tick_gives_nothing_twice() -> None:
    """A line that a tick gave in full brings no second, empty line with its newline."""
    terminal = Terminal()
    terminal.feed("whole")
    terminal.tick()

    assert [line.text for line in terminal.tick()] == ["whole"]
    assert list(terminal.feed("\n")) == []
    assert list(terminal.flush()) == []


def test_tick_does_not_give_frames_of_a_bar() -> None:
    """A slow bar that rests between its frames still gives only its last one."""
    terminal = Terminal()
    given_lines = []
    for percent in range(0, 101, 10):
        given_lines += [*terminal.feed(f"\r{percent}%"), *terminal.tick(), *terminal.tick()]
    given_lines += [*terminal.feed("\n"), *terminal.tick(), *terminal.tick()]

    assert [line.text for line in given_lines] == ["100%"]


def test_a_line_without_end_is_cut_and_counted() -> None:
    """Memory stays bounded without newlines, and the loss is known."""
    terminal = Terminal(max_columns=10)
    for _ in range(1000):
        terminal.feed("0123456")
    (line,) = terminal.feed("\n")
    (bar,) = [*terminal.feed("\r" + "x" * 25 + "\r" + "y" * 25), *terminal.flush()]

    assert (line.text, line.lost_chars) == ("0123456012", 6990)
    assert (bar.text, bar.lost_chars) == ("y" * 10, 15)


def test_far_jumps_cost_no_memory() -> None:
    """Cursor movements of any size stay within the window."""
    terminal = Terminal(max_columns=100)
    terminal.feed(
        "\x1b[999999999;999999999H" + "\x1b[999999999C" + "\x1b[999999999B" + "x" + "\n" * 500 + "\x1b[" + "9" * 5000
    )

    assert len(terminal.flush()) <= WINDOW_ROWS


def test_a_line_carries_the_mark_of_its_writer() -> None:
    """A line has the mark of the text that finished it, however much later it is given out."""
    terminal = Terminal()
    (plain,) = [*terminal.feed("a", "first"), *terminal.feed("b\n", "second")]
    terminal.feed("\r50%", "third")
    terminal.feed("\r100%\n", "fourth")
    bar, after = [*terminal.feed("c\n", "fifth"), *terminal.flush()]

    assert (plain.mark, bar.mark, after.mark) == ("second", "fourth", "fifth")


def test_pending_shows_the_unfinished_row() -> None:
    """The row with the cursor can be asked for while it is written."""
    terminal = Terminal()
    terminal.feed("a\nb")
    plain = terminal.pending()
    terminal.feed("\r50%")

    assert (plain, terminal.pending()) == ("b", "50%")
