"""Patterns in the syntax of ``.gitignore``, for ``.hindsightignore`` and for folders without git.

Paths are text relative to the folder of the patterns, with ``/`` between the parts; bytes that are not UTF-8 stand as
surrogates. Compared with git's own matcher in the tests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = ".hindsightignore"
_MAX_BYTES = 1 << 20
_CLASSES = {
    "alnum": "A-Za-z0-9",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


@dataclass(frozen=True)
class Pattern:
    """One line of an ignore file."""

    regex: re.Pattern[str]
    keeps: bool  # the line began with "!"
    folders_only: bool
    by_name: bool  # compared with the last part of a path, at any depth


@dataclass(frozen=True)
class Patterns:
    """The lines of one ignore file, which stands in ``folder`` (relative to the root, empty for the root itself)."""

    lines: tuple[Pattern, ...]
    folder: str = ""

    def verdict(self, path: str, *, is_folder: bool) -> bool | None:
        """``True``: left out, ``False``: explicitly kept, ``None``: no line speaks of this path. The last line wins."""
        if self.folder:
            if not path.startswith(f"{self.folder}/"):
                return None
            path = path[len(self.folder) + 1 :]
        name = path.rpartition("/")[2]
        for line in reversed(self.lines):
            if (is_folder or not line.folders_only) and line.regex.fullmatch(name if line.by_name else path):
                return not line.keeps
        return None

    def __bool__(self) -> bool:
        return bool(self.lines)


def parse_patterns(text: str, *, folder: str = "") -> Patterns:
    """The patterns in the text of an ignore file; lines that can match nothing are left out, as git does."""
    lines = (_parse_line(line) for line in text.removeprefix("\ufeff").split("\n"))
    return Patterns(tuple(line for line in lines if line is not None), folder)


def read_patterns(path: Path, *, folder: str = "") -> Patterns:
    """The patterns of an ignore file; none when it is absent, unreadable or not a regular file."""
    try:
        if path.is_symlink() or not path.is_file():
            return Patterns((), folder)
        with open(path, "rb") as file:
            return parse_patterns(os.fsdecode(file.read(_MAX_BYTES)), folder=folder)
    except OSError:
        return Patterns((), folder)


def escape(path: str) -> str:
    """A pattern that means exactly this path."""
    return re.sub(r"([\\*?\[\]!# ])", r"\\\1", path)


def decide(path: str, rules: Iterable[Patterns], *, is_folder: bool = False) -> bool | None:
    """What several ignore files, weakest first, say of a path; a folder above it that is left out settles it.

    >>> rules = [parse_patterns("*.bin\\n!init.bin\\ncache/")]
    >>> decide("a/w.bin", rules), decide("a/init.bin", rules), decide("cache/init.bin", rules), decide("a.py", rules)
    (True, False, True, None)
    """
    ordered = list(rules)
    if any(_last_word(parent, ordered, is_folder=True) for parent in _parents(path)):
        return True
    return _last_word(path, ordered, is_folder=is_folder)


def _last_word(path: str, rules: list[Patterns], *, is_folder: bool) -> bool | None:
    for patterns in reversed(rules):
        verdict = patterns.verdict(path, is_folder=is_folder)
        if verdict is not None:
            return verdict
    return None


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")[:-1]
    return ("/".join(parts[: end + 1]) for end in range(len(parts)))


def _parse_line(line: str) -> Pattern | None:
    line = _strip_end(line.removesuffix("\r"))
    if not line or line.startswith("#"):
        return None
    keeps = line.startswith("!")
    line = line[1:] if keeps else line
    folders_only = line.endswith("/")
    line = line[:-1] if folders_only else line
    by_name = "/" not in line
    translated = _translate(line.removeprefix("/"), by_name=by_name)
    if not line or translated is None:
        return None
    return Pattern(re.compile(translated, re.DOTALL), keeps, folders_only, by_name)


def _strip_end(line: str) -> str:
    """Without spaces at the end, unless a back-slash protects them."""
    end = len(line)
    while end and line[end - 1] == " ":
        back_slashes = len(line[: end - 1]) - len(line[: end - 1].rstrip("\\"))
        if back_slashes % 2:
            break
        end -= 1
    return line[:end]


def _translate(glob: str, *, by_name: bool) -> str | None:
    """The regular expression of a glob, or ``None`` when it can match nothing (an open bracket, a lone back-slash)."""
    out: list[str] = []
    at = 0
    while at < len(glob):
        letter = glob[at]
        if letter == "*":
            piece, at = _translate_stars(glob, at, by_name=by_name)
        elif letter == "?":
            piece, at = ("." if by_name else "[^/]"), at + 1
        elif letter == "[":
            bracket = _translate_bracket(glob, at + 1)
            if bracket is None:
                return None
            piece, at = bracket
        elif letter == "\\":
            if at + 1 == len(glob):
                return None
            piece, at = re.escape(glob[at + 1]), at + 2
        else:
            piece, at = re.escape(letter), at + 1
        out.append(piece)
    return "".join(out)


def _translate_stars(glob: str, at: int, *, by_name: bool) -> tuple[str, int]:
    end = at
    while end < len(glob) and glob[end] == "*":
        end += 1
    starts_part = at == 0 or glob[at - 1] == "/"
    if not by_name and end - at == 2 and starts_part:
        if end == len(glob):
            return ".*", end
        if glob[end] == "/":
            return "(?:.*/)?", end + 1
    return "[^/]*", end


def _translate_bracket(glob: str, at: int) -> tuple[str, int] | None:
    negated = at < len(glob) and glob[at] in "!^"
    at += negated
    inside: list[str] = []
    first = True
    while at < len(glob) and (glob[at] != "]" or first):
        first = False
        if glob.startswith("[:", at) and (close := glob.find(":]", at + 2)) > 0:
            name = glob[at + 2 : close]
            if name not in _CLASSES:
                return None
            inside.append(_CLASSES[name])
            at = close + 2
            continue
        low, at = _bracket_letter(glob, at)
        high = low
        if glob.startswith("-", at) and at + 1 < len(glob) and glob[at + 1] != "]":
            high, at = _bracket_letter(glob, at + 1)
        if low <= high:
            inside.append(f"{re.escape(low)}-{re.escape(high)}")
    if at >= len(glob):
        return None
    body = "".join(inside)
    if not body:
        return ("[^/]" if negated else "(?!)"), at + 1
    return (f"(?!/)[{'^' if negated else ''}{body}]"), at + 1


def _bracket_letter(glob: str, at: int) -> tuple[str, int]:
    if glob[at] == "\\" and at + 1 < len(glob):
        return glob[at + 1], at + 2
    return glob[at], at + 1
