"""What commands write with ``--json``: valid JSON that keeps every value apart from every other.

JSON has no NaN, no infinity, no bytes and no times. They are written as the texts ``"NaN"``, ``"Infinity"`` and
``"-Infinity"``, as ``{"$bytes": "<base64>"}``, and as times in UTC such as ``"2026-01-31T12:00:00.000Z"``.
``null``: there is no value.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracker.read.catalog import AttemptView, RunView

JSON_HELP = (
    'NaN and infinities are the texts "NaN", "Infinity", "-Infinity"; bytes are {"$bytes": base64}; '
    "times are UTC; null means no value."
)


def write_json(document: Any) -> None:
    """Write one document to stdout: indented for a person at a terminal, else on one line."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(plain(document), indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """The value in terms of JSON.

    >>> plain({"loss": float("nan"), "raw": b"hi", 3: (1, 2)})
    {'loss': 'NaN', 'raw': {'$bytes': 'aGk='}, '3': [1, 2]}
    """
    if value is None or isinstance(value, bool | int | str):
        return _valid_text(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, Mapping):
        return {_valid_text(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return _other(value)


def _other(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    item = getattr(value, "item", None)  # a scalar of numpy
    return plain(item()) if callable(item) else str(value)


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _valid_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode() if any("\ud800" <= letter <= "\udfff" for letter in text) else text


def utc_text(moment: datetime) -> str:
    """A time in UTC, to the millisecond; one without a zone is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def run_form(view: RunView) -> dict[str, Any]:
    """A run as ``runs --json`` lists it."""
    return {
        "run": view.run,
        "short": view.short,
        "project": view.project,
        "name": view.name,
        "script": view.script,
        "status": view.status,
        "started": view.started,
        "ended": view.ended,
        "duration_s": view.duration,
        "attempts": len(view.attempts),
        "parent": view.parent,
        "tags": view.tags,
        "pinned": view.pinned,
        "arguments": view.arguments,
        "summary": view.summary,
    }


def attempt_form(attempt: AttemptView) -> dict[str, Any]:
    """An attempt as ``show --json`` lists it: its documents as the store has them."""
    import msgspec

    return {
        "attempt": attempt.attempt,
        "number": attempt.number,
        "status": attempt.status,
        "started": attempt.started,
        "ended": attempt.ended,
        "start": None if attempt.start is None else msgspec.to_builtins(attempt.start),
        "code": None if attempt.code is None else msgspec.to_builtins(attempt.code),
        "end": None if attempt.end is None else msgspec.to_builtins(attempt.end, builtin_types=(bytes,)),
    }
