"""Metrics out of captured text: values that a program printed and never logged. Pure functions over lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tracker.errors import InputError

NUMBER = r"[-+]?(?:\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf(?:inity)?|nan)"
"""A number as programs print it."""

_PAIR = re.compile(
    rf"(?<![\w.])(?P<name>[A-Za-z_][\w./-]{{0,99}}?)\s{{0,9}}[=:]\s{{0,9}}(?P<value>{NUMBER})(?![\w.])", re.IGNORECASE
)
_MAX_LINE_CHARS = 1 << 16  # a pattern can take time that grows with the square of the line, or worse


class Found(NamedTuple):
    """One value in one line: line number from 0, name, value, and where the value stands in the line."""

    line: int
    name: str
    value: int | float | str
    start: int
    stop: int


def extract(lines: Iterable[str], pattern: str | re.Pattern[str] | None = None) -> Iterator[Found]:
    """Every value that ``pattern`` finds, in order; several per line where it matches more than once.

    Each named group is a metric. Without a pattern every ``name=number`` and ``name: number`` is one. A value that
    reads as an integer or float is one, anything else is text. ``InputError`` for a pattern that cannot be used, before
    any line is read. Of a line only the first 65,536 characters are searched.

    >>> [(found.name, found.value) for found in extract(["epoch 3: loss=0.25, acc: 91"])]
    [('loss', 0.25), ('acc', 91)]
    >>> [found.value for found in extract(["step 7 took 3 s"], r"step (?P<step>\\d+)")]
    [7]
    """
    compiled = None if pattern is None else _compile(pattern)
    return _pairs(lines) if compiled is None else _groups(lines, compiled)


def preview(lines: Iterable[str], pattern: str | re.Pattern[str] | None = None, *, limit: int = 10) -> list[str]:
    """The first ``limit`` lines with a value, each followed by what would be extracted: to try a pattern first."""
    shown: dict[int, tuple[str, list[str]]] = {}
    kept: dict[int, str] = {}

    def watched() -> Iterator[str]:
        for number, line in enumerate(lines):
            kept.clear()
            kept[number] = line
            yield line

    for found in extract(watched(), pattern):
        if found.line not in shown:
            if len(shown) == limit:
                break
            shown[found.line] = (kept[found.line], [])
        shown[found.line][1].append(f"{found.name}={found.value!r}")
    return [f"{line}  →  {', '.join(values)}" for line, values in shown.values()]


def _compile(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as exc:
        raise InputError(f"{pattern!r} is not a regular expression: {exc}") from exc
    if not isinstance(compiled.pattern, str):
        raise InputError(f"{pattern!r} is a pattern for bytes: lines are text, pass a text pattern")
    if not compiled.groupindex:
        raise InputError(
            f"{compiled.pattern!r} names no value: write each as a named group, such as (?P<loss>{NUMBER})"
        )
    return compiled


def _groups(lines: Iterable[str], pattern: re.Pattern[str]) -> Iterator[Found]:
    for number, line in enumerate(lines):
        for match in pattern.finditer(line, 0, _MAX_LINE_CHARS):
            for name in pattern.groupindex:
                if match[name] is not None:
                    yield Found(number, name, _value(match[name]), match.start(name), match.end(name))


def _pairs(lines: Iterable[str]) -> Iterator[Found]:
    for number, line in enumerate(lines):
        for match in _PAIR.finditer(line, 0, _MAX_LINE_CHARS):
            yield Found(number, match["name"], _value(match["value"]), match.start("value"), match.end("value"))


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:  # also integers of more digits than Python converts: those become floats
            continue
    return text
