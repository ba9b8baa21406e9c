"""Policies of retention: what is kept, as people set it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from tracker.errors import BadSetting

DAY_S = 86_400.0
DEFAULT_GRACE_S = DAY_S
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S, "w": 7 * DAY_S}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
_DURATIONS = ("keep_younger", "grace")
_NAMES = ("keep_last", "keep_best", "keep_younger", "keep_tagged", "checkpoints", "grace")


@dataclass(frozen=True)
class Best:
    """The best so many runs by the last value of a metric."""

    metric: str
    mode: Literal["max", "min"] = "max"
    count: int = 1

    def __str__(self) -> str:
        return f"the best {self.count} by {self.metric} ({self.mode})"


@dataclass(frozen=True)
class Policy:
    """What is kept. Runs go only where one of ``last``, ``best`` and ``younger_s`` is given, and none of them keeps
    the run; pinned and tagged runs stay, and those that go on.

    ``checkpoints``: which of a run's checkpoints stay: every so many, or ever fewer the older they are (``"log"``);
    always the first, the last, and where ``best`` names metrics those at the best values.
    """

    last: int | None = None
    best: tuple[Best, ...] = ()
    younger_s: float | None = None
    tags: tuple[str, ...] = ()
    checkpoints: int | Literal["log"] | None = None
    grace_s: float = DEFAULT_GRACE_S

    @property
    def removes_runs(self) -> bool:
        """Whether runs may go by it."""
        return self.last is not None or bool(self.best) or self.younger_s is not None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Policy:
        """From ``[tool.hindsight.retention]``, or what a caller gives by the same names; ``BadSetting`` names what
        cannot be used.

        >>> Policy.of({"keep_last": 5, "keep_best": "loss:min:2", "keep_younger": "2d"}).younger_s
        172800.0
        """
        unknown = sorted(settings.keys() - set(_NAMES))
        if unknown:
            raise BadSetting(f"retention sets {unknown[0]!r}: expected {', '.join(_NAMES)}")
        given = {name: value for name, value in settings.items() if value is not None}
        return cls(
            last=_count("keep_last", given["keep_last"], least=0) if "keep_last" in given else None,
            best=tuple(map(parse_best, _texts("keep_best", given.get("keep_best", ())))),
            younger_s=parse_duration("keep_younger", given["keep_younger"]) if "keep_younger" in given else None,
            tags=tuple(_texts("keep_tagged", given.get("keep_tagged", ()))),
            checkpoints=_spacing(given["checkpoints"]) if "checkpoints" in given else None,
            grace_s=parse_duration("grace", given.get("grace", DEFAULT_GRACE_S)),
        )


def parse_best(text: str) -> Best:
    """``metric``, ``metric:min`` or ``metric:min:5``; a metric with a colon in its name has both behind it.

    >>> parse_best("accuracy"), parse_best("loss:min:3")
    (Best(metric='accuracy', mode='max', count=1), Best(metric='loss', mode='min', count=3))
    """
    match = re.fullmatch(r"(?P<metric>.+?)(?::(?P<mode>max|min))?(?::(?P<count>\d+))?", text)
    if match is None:
        raise BadSetting(f"keep_best is {text!r}: expected METRIC, METRIC:min or METRIC:max:3")
    count = _count("keep_best", int(match["count"] or 1), least=1)
    return Best(match["metric"], "min" if match["mode"] == "min" else "max", count)


def parse_duration(name: str, value: Any) -> float:
    """Seconds from a number, a ``timedelta``, or a text such as ``30d``, ``12h`` or ``90m``; no text but ``0`` is
    without a unit, because who writes 30 means days.

    >>> parse_duration("grace", "1.5h")
    5400.0
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None and (match[2] or not float(match[1])):
        value = float(match[1]) * _UNITS_S[match[2] or "s"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise BadSetting(f"{name} is {value!r}: expected a text such as 30d, 12h, 90m or 45s")
    return float(value)


def with_units(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from a file, whose durations are texts: a number there is one without a unit."""
    durations = {name: str(settings[name]) for name in _DURATIONS if settings.get(name) is not None}
    return {**settings, **durations}


def _count(name: str, value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadSetting(f"{name} is {value!r}: expected a whole number from {least}")
    return value


def _texts(name: str, value: Any) -> Sequence[str]:
    texts = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(text, str) and text for text in texts):
        raise BadSetting(f"{name} is {value!r}: expected a text or a list of texts")
    return texts


def _spacing(value: Any) -> int | Literal["log"]:
    if value == "log":
        return "log"
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadSetting(f"checkpoints is {value!r}: expected 'log', or a whole number from 1 to keep every so many")
    return value
