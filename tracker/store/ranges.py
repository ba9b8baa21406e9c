"""A file object over range requests."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

TAIL_BYTES = 1 << 20  # one request fetches a small segment whole, or the footer of a large one


class RangeReader(io.RawIOBase):
    """Reads ranges of a key as they are asked for, and its end, which was fetched already, from memory.

    Meant for keys that never change, such as segments: the ranges come from separate requests.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], *, tail: bytes, size_bytes: int) -> None:
        self._fetch = fetch
        self._tail = tail
        self._size = size_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset} is before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._position))
        data = self._read(self._position, wanted)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        # One request; the inherited method would send one for every 8 KiB.
        data = self._read(self._position, max(0, self._size - self._position))
        self._position += len(data)
        return data

    def _read(self, start: int, length: int) -> bytes:
        if not length:
            return b""
        tail_start = self._size - len(self._tail)
        if start >= tail_start:
            return self._tail[start - tail_start : start - tail_start + length]
        if start + length <= tail_start:
            return self._fetch(start, length)
        return self._fetch(start, tail_start - start) + self._tail[: start + length - tail_start]
