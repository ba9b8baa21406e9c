"""Ids that sort by time and are unique without asking anybody."""

from __future__ import annotations

import os
import re
import threading
import time

from tracker.errors import BadKey

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, lower case
ID_LENGTH = 26
SHORT_LENGTH = 8

_ID = re.compile(f"[0-7][{ALPHABET}]{{{ID_LENGTH - 1}}}")

_lock = threading.Lock()
_last_ms = 0
_counter = 0


def _reset_after_fork() -> None:
    global _lock, _last_ms
    _lock = threading.Lock()
    _last_ms = 0


os.register_at_fork(after_in_child=_reset_after_fork)


def new_id() -> str:
    """A new 26-character id: a UUIDv7 (milliseconds, counter, 62 random bits) in base 32.

    Ids made by one process increase strictly, also when the clock steps back; ids of different
    processes and hosts sort by their clocks. Safe in threads and after a fork.
    """
    global _last_ms, _counter
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms, _counter = now_ms, int.from_bytes(os.urandom(2)) & 0x3FF
        else:
            _counter += 1
            if _counter > 0xFFF:
                _last_ms, _counter = _last_ms + 1, 0
        milliseconds, counter = _last_ms, _counter
    return _made_of(milliseconds, counter)


def later_id(than: str, *, at: float | None = None) -> str:
    """A new id that sorts after another one, also when that was made by a clock ahead of ours; ``at`` is the time of
    what it names in Unix seconds, where that has begun before now.
    """
    found = new_id() if at is None else _made_of(int(at * 1000), 0)
    return found if found > than else _made_of(created_ms(than) + 1, 0)


def _made_of(milliseconds: int, counter: int) -> str:
    random_bits = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    number = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | random_bits
    return _to_text(number, ID_LENGTH)


def new_suffix() -> str:
    """Eight random characters, for the shards of one attempt."""
    return _to_text(int.from_bytes(os.urandom(5)), SHORT_LENGTH)


def short(run: str) -> str:
    """The last eight characters of an id: what people see and may type."""
    return run[-SHORT_LENGTH:]


def created_ms(text: str) -> int:
    """Unix milliseconds at which an id was made."""
    return _to_number(text) >> 80


def first_id(milliseconds: int) -> str:
    """The smallest id that can be made at a time, in Unix milliseconds: where a listing of later ones begins."""
    return _to_text(max(0, milliseconds) << 80, ID_LENGTH)


def is_id(text: str) -> bool:
    """Whether the text has the form of an id of ours."""
    return _ID.fullmatch(text) is not None


def _to_text(number: int, length: int) -> str:
    letters = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        letters.append(ALPHABET[digit])
    return "".join(reversed(letters))


def _to_number(text: str) -> int:
    if not is_id(text):
        raise BadKey(f"{text!r} is not an id: expected {ID_LENGTH} characters of {ALPHABET!r}")
    number = 0
    for letter in text:
        number = number * 32 + ALPHABET.index(letter)
    return number
