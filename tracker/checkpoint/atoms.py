"""Values without parts: how each is written in a tree, and made again from it without running code of anybody."""

from __future__ import annotations

import base64
import datetime as dt
import math
import pathlib
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

Node = dict[str, Any]
_BITS_64 = range(-(2**63), 2**63)
_CONSTANTS = {"Ellipsis": ..., "NotImplemented": NotImplemented}
_PATHS = {kind.__name__: kind for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath, type(pathlib.Path()))}


def write_int(value: int) -> int | Node:
    return value if value in _BITS_64 else {"$int": f"{value:x}"}


def write_float(value: float) -> float | Node:
    return value if math.isfinite(value) else {"$float": struct.pack(">d", value).hex()}


def write_text(value: str) -> str | Node:
    """A text as it is; one with lone surrogates, which UTF-8 lacks, in base64."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"$text": base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()}
    return value


def _write_datetime(value: dt.datetime) -> Node | None:
    zone = getattr(value.tzinfo, "key", None)
    if zone is None and value.tzinfo is not None and not _is_offset(value.tzinfo):
        return None
    node = {"$datetime": value.replace(tzinfo=None, fold=0).isoformat() if zone else value.replace(fold=0).isoformat()}
    return node | ({"fold": 1} if value.fold else {}) | ({"zone": zone} if zone else {})


def _is_offset(zone: dt.tzinfo) -> bool:
    """Whether a zone is a bare offset, which is all that an ISO time can say."""
    return type(zone) is dt.timezone and zone == dt.timezone(zone.utcoffset(None)) and "UTC" in str(zone)


def _read_datetime(node: Node) -> dt.datetime:
    value = dt.datetime.fromisoformat(node["$datetime"]).replace(fold=int(node.get("fold", 0)))
    if "zone" not in node:
        return value
    from zoneinfo import ZoneInfo

    return value.replace(tzinfo=ZoneInfo(node["zone"]))


def _write_time(value: dt.time) -> Node | None:
    return None if value.tzinfo else {"$time": value.replace(fold=0).isoformat(), "fold": value.fold}


def _write_path(value: pathlib.PurePath) -> Node:
    return {"$path": write_text(str(value)), "kind": type(value).__name__}


def _read_path(node: Node) -> pathlib.PurePath:
    text = node["$path"]
    return _PATHS[node["kind"]](text if isinstance(text, str) else READERS["$text"](text))


def _read_complex(node: Node) -> complex:
    return complex(*struct.unpack(">dd", bytes.fromhex(node["$complex"])))


def _read_delta(node: Node) -> dt.timedelta:
    days, seconds, microseconds = node["$timedelta"]
    return dt.timedelta(days, seconds, microseconds)


def _read_decimal(node: Node) -> Decimal:
    return Decimal(str(node["$decimal"]))


def _numbers(values: tuple[int, ...]) -> str:
    return " ".join(f"{value:x}" for value in values)


def _read_range(node: Node) -> range:
    return range(*(int(part, 16) for part in node["$range"].split()))


def _read_fraction(node: Node) -> Fraction:
    return Fraction(*(int(part, 16) for part in node["$fraction"].split()))


WRITERS: dict[type, Callable[[Any], Any]] = {
    int: write_int,
    float: write_float,
    str: write_text,
    complex: lambda value: {"$complex": struct.pack(">dd", value.real, value.imag).hex()},
    range: lambda value: {"$range": _numbers((value.start, value.stop, value.step))},
    dt.datetime: _write_datetime,
    dt.date: lambda value: {"$date": value.isoformat()},
    dt.time: _write_time,
    dt.timedelta: lambda value: {"$timedelta": [value.days, value.seconds, value.microseconds]},
    Decimal: lambda value: {"$decimal": str(value)},
    Fraction: lambda value: {"$fraction": _numbers((value.numerator, value.denominator))},
    uuid.UUID: lambda value: {"$uuid": value.hex},
    type(...): lambda value: {"$constant": "Ellipsis"},
    type(NotImplemented): lambda value: {"$constant": "NotImplemented"},
    **dict.fromkeys(_PATHS.values(), _write_path),
}
"""By exact type; ``None`` from one of them means that this very value has no form."""

READERS: dict[str, Callable[[Node], Any]] = {
    "$int": lambda node: int(node["$int"], 16),
    "$float": lambda node: struct.unpack(">d", bytes.fromhex(node["$float"]))[0],
    "$text": lambda node: base64.b64decode(node["$text"]).decode("utf-8", "surrogatepass"),
    "$complex": _read_complex,
    "$range": _read_range,
    "$datetime": _read_datetime,
    "$date": lambda node: dt.date.fromisoformat(node["$date"]),
    "$time": lambda node: dt.time.fromisoformat(node["$time"]).replace(fold=int(node.get("fold", 0))),
    "$timedelta": _read_delta,
    "$decimal": _read_decimal,
    "$fraction": _read_fraction,
    "$uuid": lambda node: uuid.UUID(hex=node["$uuid"]),
    "$constant": lambda node: _CONSTANTS[node["$constant"]],
    "$path": _read_path,
}
"""By mark. Whatever they raise for a malformed node is turned into ``DamagedDocument`` by who calls them."""
