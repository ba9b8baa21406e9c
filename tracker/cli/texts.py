"""Values, times, sizes and durations as short texts for people."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

from tracker.store.descriptions import described

_LONGEST = 60
_LARGEST = 1e15  # above, a float is no longer exact to a tenth


def value_text(value: Any, longest: int = _LONGEST) -> str:
    """A logged value, short enough for a table.

    >>> value_text(0.1234567), value_text(1e-9), value_text(True), value_text(None)
    ('0.1235', '1e-09', 'true', 'None')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, bytes):
        return shorten(f"{len(value)} bytes {value[:8].hex()}", longest)
    if isinstance(value, datetime):
        return local_time(value)
    if (text := described(value)) is not None:
        return shorten(text, longest)
    if isinstance(value, dict | list | tuple):
        return shorten(json.dumps(value, ensure_ascii=False, default=str), longest)
    return shorten(str(value), longest)


def number_text(value: float) -> str:
    """Whole numbers whole, large ones to a tenth, small ones with four significant digits.

    >>> [number_text(each) for each in (1.0, 999950000.0, 1234567.89, 0.0034071, 999.96, 2e18)]
    ['1.0', '999950000.0', '1234567.9', '0.003407', '1000', '2e+18']
    """
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if abs(value) > _LARGEST:
        return f"{value:.6g}"
    return f"{value:.1f}" if value == int(value) or abs(value) >= 1000 else f"{value:.4g}"


def shorten(text: str, longest: int) -> str:
    """The text on one line without control characters, which would steer the terminal, and cut with an ellipsis."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= longest else line[: max(longest - 1, 0)] + "…"


def safe_line(text: str) -> str:
    """A stored line without control characters, tabs as spaces."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text.expandtabs())


def local_time(moment: datetime) -> str:
    """A time in the zone of the reader."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def zone_name() -> str:
    """The name of the reader's zone, for the head of a column."""
    return datetime.now().astimezone().tzname() or "local"


def duration_text(seconds: float | None) -> str:
    """Seconds in the unit that a person would use.

    >>> [duration_text(each) for each in (None, 0.00002, 0.12, 8.25, 75, 3700, 200000)]
    ['', '20 µs', '120 ms', '8.2 s', '1 min 15 s', '1 h 02 min', '2 d 08 h']
    """
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    for unit, part, size in (("min", "s", 60), ("h", "min", 3600), ("d", "h", 86400)):
        small = {"s": 1, "min": 60, "h": 3600}[part]
        whole, rest = divmod(round(seconds / small), size // small)
        if unit == "d" or whole < {"min": 60, "h": 24}[unit]:
            return f"{whole} {unit} {rest:02d} {part}"
    return ""


def size_text(size_bytes: float) -> str:
    """A size in the decimal unit that a person would use.

    >>> size_text(512), size_text(1_250_000)
    ('512 B', '1.2 MB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size_bytes) < 1000 or unit == "TB":
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return ""


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
