"""What ``@tracked`` costs a call: inside of a run, where it is a row, and outside, where it is a run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from harness.model import Case, Figures, Row, Subject

_CALLS = 20_000
_RUNS = 20
_PIECES = 10


def measure(subject: Subject, round_number: int) -> Figures:
    """Medians over pieces of the same loop, less that of a bare function; and of whole runs."""
    from tracker.decorators import tracked

    import tracker

    def empty() -> None:
        pass

    def several(first: Any, second: Any = 2, third: Any = "x") -> Any:
        return first

    with tracker.run(store="store", capture=()):
        bare = _call_us(empty)
        nested, with_arguments = _call_us(tracked(empty)) - bare, _call_us(tracked(several), 1) - bare
    own = tracked(store="store", capture=())(empty)
    own()
    begin = time.perf_counter_ns()
    for _ in range(_RUNS):
        own()
    a_run = (time.perf_counter_ns() - begin) / _RUNS / 1e6
    return {"nested": nested, "arguments": with_arguments, "run": a_run}


def _call_us(function: Callable[..., Any], *arguments: Any) -> float:
    pieces = []
    for _ in range(_PIECES):
        begin = time.perf_counter_ns()
        for _ in range(_CALLS // _PIECES):
            function(*arguments)
        pieces.append((time.perf_counter_ns() - begin) / (_CALLS // _PIECES) / 1e3)
    return statistics.median(pieces)


CASE = Case(
    name="tracked",
    rows=(
        Row("nested", "@tracked on an empty function, called inside of a run", "µs", budget=30),
        Row("arguments", "… with three arguments and a result", "µs"),
        Row("run", "… called outside of a run, to its end, nothing captured", "ms"),
    ),
    subjects=("hindsight",),
    measure=measure,
)
