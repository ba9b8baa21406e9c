"""A reference: plain Python that puts a number, a value and a time into a mapped file, and promises nothing."""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import time
from collections.abc import Callable

from harness.model import Names, Subject

_SLOTS = 1 << 16


def begin() -> Names:
    with open("bare.bin", "wb+") as file:
        os.posix_fallocate(file.fileno(), 0, 32 * _SLOTS)
        mapped = mmap.mmap(file.fileno(), 32 * _SLOTS)
    return {"log": _logger(mapped)}


def _logger(mapped: mmap.mmap) -> Callable[[str, float], None]:
    pack, now, next_slot = struct.Struct("@dqQQ").pack_into, time.time_ns, itertools.count().__next__
    numbers: dict[str, int] = {}

    def log(name: str, value: float) -> None:
        number = numbers.get(name) or numbers.setdefault(name, len(numbers) + 1)
        pack(mapped, next_slot() % _SLOTS * 32, value, now(), 0, number)

    return log


SUBJECT = Subject(
    name="bare",
    begin=begin,
    log="log(name, value)",
    log_row="for name, value in row.items(): log(name, value)",
)
