"""What people type when they ask a replay: names, iterations, changed arguments."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from typing import Any

from tracker.errors import InputError
from tracker.replay.documents import Question

_MOST_ITERATIONS = 1_000_000
_RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")


def ask(
    names: Iterable[str],
    *,
    where: str | None = None,
    runs: Iterable[str] = (),
    iterations: Iterable[str] = (),
    overrides: Iterable[str] = (),
    ignored: Iterable[str] = (),
) -> Question:
    """The question in what stands on a command line; ``InputError`` says which piece cannot be read.

    >>> ask(["grad_norm"], iterations=["epoch=0,5-7"], overrides=["lr=0.01"]).iterations
    {'epoch': (0, 5, 6, 7)}
    """
    return Question(
        names=parse_names(names),
        where=where or None,
        runs=tuple(runs),
        iterations=parse_iterations(iterations),
        overrides=parse_overrides(overrides),
        ignored=tuple(sorted(set(ignored))),
    )


def parse_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Logged names, ``@LINE``, ``name@LINE`` or ``path.py@LINE``, each once and in order."""
    found = [text.strip() for text in texts]
    if not found:
        raise InputError("nothing was asked for: name a logged value such as grad_norm, or a line such as train.py@42")
    for text in found:
        before, at, line = text.rpartition("@")
        if not text:
            raise InputError("a name is empty: expected a logged name, '@LINE', 'name@LINE' or 'path.py@LINE'")
        if at and not before and not (line.isascii() and line.isdigit() and int(line)):
            raise InputError(f"{text!r} names no line: expected '@' and a line number from 1, such as '@42'")
    return tuple(dict.fromkeys(found))


def parse_iterations(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Loops with the indices of their iterations; the same loop may be named twice.

    >>> parse_iterations(["epoch=0,5,9", "step=3-5"])
    {'epoch': (0, 5, 9), 'step': (3, 4, 5)}
    """
    found: dict[str, set[int]] = {}
    for text in texts:
        loop, equals, listed = text.partition("=")
        if not equals or not loop.strip():
            raise InputError(f"{text!r} does not say which iterations: expected LOOP=INDICES, such as epoch=0,5,10-19")
        found.setdefault(loop.strip(), set()).update(_indices(text, listed))
    return {loop: tuple(sorted(indices)) for loop, indices in found.items()}


def _indices(text: str, listed: str) -> set[int]:
    found: set[int] = set()
    for piece in listed.split(","):
        match = _RANGE.fullmatch(piece.strip())
        if match is None:
            raise InputError(
                f"{piece.strip()!r} in {text!r} is no index or range: iterations count from 0, such as epoch=0,5,10-19"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise InputError(f"the range {piece.strip()!r} in {text!r} ends before it begins: write {last}-{first}")
        if last - first >= _MOST_ITERATIONS:
            raise InputError(f"the range {piece.strip()!r} in {text!r} has more than {_MOST_ITERATIONS:,} iterations")
        found.update(range(first, last + 1))
    return found


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Arguments with changed values. Texts are read as ``tracker.arg`` reads them where it has no default.

    A number, truth value, list or other literal of Python or JSON becomes that; everything else stays a text.

    >>> parse_overrides(["lr=1e-3", "name=adam", "layers=[1, 2]", "flag=true"])
    {'lr': 0.001, 'name': 'adam', 'layers': [1, 2], 'flag': True}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{text!r} changes no argument: expected NAME=VALUE, such as lr=0.001")
        if name.strip() in found:
            raise InputError(f"argument {name.strip()!r} is changed twice: give it one value")
        found[name.strip()] = _literal(value)
    return found


def _literal(text: str) -> Any:
    for read in (ast.literal_eval, json.loads):
        try:
            found = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if _is_storable(found):
            return found
    return text


def _is_storable(value: Any) -> bool:
    """Whether the plan, which is JSON, gives it back as it is: no bytes, sets, complex numbers, infinities."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False
