"""A data frame of ten metrics from a closed run, in a fresh process."""

from __future__ import annotations

import importlib
import time

from harness.loops import METRICS, metric_rows, plain_loop
from harness.model import Case, Figures, Row, Subject, load_subject
from harness.processes import BENCHMARKS
from harness.scripts import run_script

_STEPS = 1_000_000
_EPOCHS = 10


def measure(subject: Subject, round_number: int) -> Figures:
    """Build the run once, in another process; then time the call with the libraries loaded, and once more."""
    steps = subject.calls.get("frame", _STEPS)
    if round_number == 0:
        _in_another_process(subject, steps)
    assert subject.frame is not None
    import pandas  # noqa: F401 - who asks for a data frame has it loaded

    for module in (subject.module, *subject.frame_modules):
        importlib.import_module(module)
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        frame = subject.frame(list(METRICS))
        seconds.append(time.perf_counter() - begin)
        _check(frame, steps)
    return {
        "first": seconds[0],
        "again": seconds[1],
        "rate": steps * len(METRICS) / seconds[0] / 1e6,
        "values": float(steps * len(METRICS)),
    }


def _check(frame: object, steps: int) -> None:
    """A fast frame that lacks values does not count."""
    rows = len(frame)  # type: ignore[arg-type]
    if rows != steps:
        raise ValueError(f"the frame has {rows} rows, expected {steps}")


def _in_another_process(subject: Subject, steps: int) -> None:
    lines = f"import sys\nsys.path.append({str(BENCHMARKS)!r})\nfrom cases.frame import build\n"
    run_script("build.py", f"{lines}build({subject.name!r}, {steps})\n")


def build(subject_name: str, steps: int) -> None:
    """Log the run that is read; called in the other process."""
    subject = load_subject(subject_name)
    assert subject.begin is not None
    names = subject.begin()
    rows = metric_rows(min(steps, 20_000))
    plain_loop(subject, names, statement=subject.log_row)(_EPOCHS, steps // _EPOCHS, "loss", rows)
    subject.end(names)


CASE = Case(
    name="frame",
    rows=(
        Row("first", "data frame of ten metrics, first call", "s", budget=1.0, compare=False),
        Row("again", "… second call", "s", compare=False),
        Row("rate", "… values per second, first call", "M/s", better="more"),
        Row("values", "… values in the frame", "", better="more", compare=False),
    ),
    subjects=("hindsight", "flordb"),
    measure=measure,
    rounds=3,
    keep_folder=True,
    timeout_s=400.0,
)
