"""A file over range requests reads like the file itself, and asks for little."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.store.ranges import RangeReader

DATA = bytes(range(256)) * 4


class Fetcher:
    """Gives ranges of the data and remembers which."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def __call__(self, start: int, length: int) -> bytes:
        assert length > 0
        self.asked.append((start, length))
        return DATA[start : start + length]


@given(
    tail=st.integers(0, len(DATA)),
    steps=st.lists(st.tuples(st.integers(-50, 1100), st.sampled_from([0, 1, 2]), st.integers(-1, 1100)), max_size=8),
)
def test_it_reads_like_a_file(tail: int, steps: list[tuple[int, int, int]]) -> None:
    """Seeks and reads of all kinds give what an ordinary file gives."""
    reader = RangeReader(Fetcher(), tail=DATA[len(DATA) - tail :], size_bytes=len(DATA))
    buffered, plain = io.BufferedReader(reader, 64), io.BytesIO(DATA)

    for offset, whence, length in steps:
        base = {0: 0, 1: plain.tell(), 2: len(DATA)}[whence]
        if base + offset >= 0:
            assert buffered.seek(offset, whence) == plain.seek(base + offset)
        assert buffered.read(length) == plain.read(length)
        assert buffered.tell() == plain.tell()


def test_the_tail_is_not_asked_for_again() -> None:
    """What came when the file was opened is read from memory."""
    fetch = Fetcher()
    reader = RangeReader(fetch, tail=DATA[-100:], size_bytes=len(DATA))

    reader.seek(-100, os.SEEK_END)
    assert reader.read(100) == DATA[-100:]
    reader.seek(-150, os.SEEK_END)
    assert reader.read(100) == DATA[-150:-50]

    assert fetch.asked == [(len(DATA) - 150, 50)]


def test_reading_all_is_one_request() -> None:
    """The rest of a file comes at once and not in small pieces."""
    fetch = Fetcher()

    assert io.BufferedReader(RangeReader(fetch, tail=DATA[-10:], size_bytes=len(DATA))).read() == DATA
    assert len(fetch.asked) == 1


def test_a_seek_before_the_beginning_is_refused() -> None:
    """As for any file."""
    with pytest.raises(ValueError, match="-1"):
        RangeReader(Fetcher(), tail=b"", size_bytes=len(DATA)).seek(-1)
