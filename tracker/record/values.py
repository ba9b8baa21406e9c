"""What can be logged, and the frame that holds it. NumPy and PyTorch are recognised without importing them."""

from __future__ import annotations

import math
from typing import Any

from tracker.errors import BadName, UnstorableValue
from tracker.store import frames
from tracker.store.columns import from_json, to_json

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_MAX_DIGITS = 4000  # Python converts longer ones only where it is told to
_MAX_LABEL_CHARS, _MAX_LABELS = 1000, 50
PLAIN_TYPES = (float, int, bool, str, bytes, type(None))


def plain(value: Any) -> Any:
    """The value as float, int, bool, str, bytes or ``None``, or the value itself where it is none of these.

    Subclasses (``IntEnum``, ``numpy.float64``) and scalars with ``item()`` (NumPy, PyTorch, JAX) are unwrapped without
    a loss.
    """
    if type(value) in PLAIN_TYPES:
        return value
    if isinstance(value, bool | int | float | str | bytes):
        return _unwrap_subclass(value)
    return _unwrapped(value)


def _unwrap_subclass(value: bool | int | float | str | bytes) -> Any:
    if isinstance(value, str):
        return str.__str__(value)  # an enum of texts shows its name in str()
    if isinstance(value, bytes):
        return bytes(value)
    return int(value) if isinstance(value, int) else float(value)


def _unwrapped(value: Any) -> Any:
    """What a scalar of an array library holds; the value itself where it is none, or does not say."""
    try:
        shape = getattr(value, "shape", None)
        if shape is None or tuple(shape) != () or not callable(getattr(value, "item", None)):
            return value
        item = value.item()
    except Exception:  # noqa: BLE001  foreign code; the value is then refused by name like any other
        return value
    return item if type(item) in PLAIN_TYPES else value


def encode(name: str, value: Any, *, max_bytes: int) -> tuple[int, Any]:
    """The kind of frame for a value and what goes into it: a float, an int, or heap bytes.

    ``UnstorableValue`` names the metric, the value and what would help.
    """
    value = plain(value)
    if isinstance(value, bool):
        return frames.BOOL, int(value)
    if isinstance(value, float):
        return frames.FLOAT, value
    if isinstance(value, int):
        fits = _INT64_MIN <= value <= _INT64_MAX
        return (frames.INT, value) if fits else (frames.BIGINT, _digits(name, value, max_bytes))
    if value is None:
        return frames.NONE, 0
    if isinstance(value, str):
        return frames.TEXT, _bounded(name, value.encode("utf-8", "surrogatepass"), max_bytes)
    if isinstance(value, bytes):
        return frames.BYTES, _bounded(name, value, max_bytes)
    if isinstance(value, list | tuple | dict):
        return frames.JSON, _bounded(name, _encode_nested(name, value), max_bytes)
    raise UnstorableValue(f"{name!r} cannot hold {_show(value)}{_hint(value)}")


def stored(value: Any) -> Any:
    """A value that can be stored, as it will be read back: a copy of plain types only."""
    value = plain(value)
    return value if type(value) in PLAIN_TYPES else from_json(to_json(_plain_nested("a value", value, 0)))


def _digits(name: str, value: int, max_bytes: int) -> bytes:
    largest = min(max_bytes, _MAX_DIGITS)
    if value.bit_length() > 4 * largest or len(digits := str(value)) > largest + 1:  # one for the sign
        raise UnstorableValue(
            f"{name!r} was given an integer of {value.bit_length()} bits: at most {largest} digits are stored; log its "
            "logarithm, or hex(value) as a text"
        )
    return digits.encode()


def _encode_nested(name: str, value: Any) -> bytes:
    try:
        return to_json(_plain_nested(name, value, 0)).encode()
    except (ValueError, RecursionError) as exc:
        if isinstance(exc, UnstorableValue):
            raise
        raise UnstorableValue(f"{name!r} cannot hold {_show(value)}: {exc}") from exc


def _plain_nested(name: str, value: Any, depth: int) -> Any:
    if depth > 64:
        raise UnstorableValue(f"{name!r} was given a value nested more than 64 deep, or one that contains itself")
    value = plain(value)
    if type(value) in PLAIN_TYPES:
        return value
    if isinstance(value, list | tuple):
        return [_plain_nested(name, item, depth + 1) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            bad = next(key for key in value if not isinstance(key, str))
            raise UnstorableValue(f"{name!r} was given a dict with the key {bad!r}: keys must be texts")
        return {key: _plain_nested(name, item, depth + 1) for key, item in value.items()}
    raise UnstorableValue(f"{name!r} cannot hold {_show(value)} inside a list or dict{_hint(value)}")


def _bounded(name: str, data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise UnstorableValue(
            f"{name!r} was given {len(data)} bytes: one value holds at most {max_bytes} (setting max_text_bytes); "
            "log a shorter text, or a path to a file"
        )
    return data


def _show(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as exc:  # noqa: BLE001  a broken __repr__ of the user's must not hide our message
        text = f"a value whose repr raises {type(exc).__name__}"
    return f"{text if len(text) <= 80 else text[:77] + '…'} of type {type(value).__qualname__}"


def _hint(value: Any) -> str:
    shape = getattr(type(value), "shape", None) and _shape(value)
    if shape:
        return f" with shape {shape}: log a number such as its mean, or one value per label"
    if callable(getattr(type(value), "__float__", None)):
        return ": pass float(value)"
    return (
        ": numbers, bool, text, bytes, None, and lists or dicts of these are stored; pass str(value) to keep its text"
    )


def _shape(value: Any) -> tuple[Any, ...]:
    try:
        return tuple(value.shape)
    except Exception:  # noqa: BLE001  foreign code; without a shape the message is still clear
        return ()


def check_name(name: Any, what: str) -> str:
    """The name, when it is a non-empty printable text of at most 200 characters; else ``BadName``."""
    if not isinstance(name, str):
        raise BadName(f"{what} must be a text, not {_show(name)}")
    if not name or len(name) > 200 or not name.isprintable() or name.startswith(("@", "_hindsight")):
        raise BadName(f"{what} {name!r} cannot be used: expected 1 to 200 printable characters, not beginning with '@'")
    return name if type(name) is str else str.__str__(name)


def check_labels(labels: dict[str, Any]) -> dict[str, Any]:
    """The labels with plain values, sorted; ``UnstorableValue`` for one that is no finite number, bool or text."""
    if len(labels) > _MAX_LABELS:
        raise UnstorableValue(f"{len(labels)} labels are too many for one metric: at most {_MAX_LABELS} are stored")
    return {check_name(key, "a label"): _check_label(key, plain(labels[key])) for key in sorted(labels)}


def _check_label(key: str, value: Any) -> Any:
    kind = type(value)
    if value is not None and kind not in (float, int, bool, str):
        raise UnstorableValue(f"label {key!r} cannot be {_show(value)}: labels are numbers, bool or texts")
    if kind is float and not math.isfinite(value):
        raise UnstorableValue(f"label {key!r} cannot be {value}: it must be finite; pass str(value) to keep its text")
    if kind is int and not _INT64_MIN <= value <= _INT64_MAX:
        raise UnstorableValue(f"label {key!r} has {value.bit_length()} bits: at most 64 are stored; pass a text")
    if kind is str and (len(value) > _MAX_LABEL_CHARS or not _is_unicode(value)):
        raise UnstorableValue(
            f"label {key!r} cannot be {_show(value)}: expected at most {_MAX_LABEL_CHARS} characters of valid Unicode"
        )
    return value


def _is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogate, so that it can be written as UTF-8."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
