"""What capturing the terminal costs each print, with standard output going to a file."""

from __future__ import annotations

import time

from harness.loops import plain_loop
from harness.model import Case, Figures, Row, Subject

_LINES = 5_000
_PRINT = 'print("step", i, "loss", value)'


def measure(subject: Subject, round_number: int) -> Figures:
    """Mean time of one print of a short line before a run has begun, while it captures, and the difference."""
    lines = subject.calls.get("capture", _LINES)
    plain = _print_us(lines)
    assert subject.begin is not None
    names = subject.begin()
    captured = _print_us(lines)
    subject.end(names)
    return {"plain": plain, "captured": captured, "cost": max(0.0, captured - plain)}


def _print_us(lines: int) -> float:
    run = plain_loop(Subject(name="print"), {}, statement=_PRINT)
    run(1, 100, "loss", [1.5])
    begin = time.perf_counter_ns()
    run(1, lines, "loss", [1.5])
    return (time.perf_counter_ns() - begin) / lines / 1e3


CASE = Case(
    name="capture",
    rows=(
        Row("cost", "capture, on top of a print", "µs"),
        Row("plain", "… print without", "µs", compare=False),
        Row("captured", "… print with", "µs", compare=False),
    ),
    subjects=("hindsight", "flordb", "kohakuboard", "wandb"),
    measure=measure,
)
