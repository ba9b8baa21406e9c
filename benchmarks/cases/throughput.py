"""How many scalars a second one process on one core sustains, until all of them are in their final files."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from harness.loops import METRICS, metric_rows, plain_loop
from harness.model import Case, Figures, Row, Subject

_RECORDS = 3_000_000
_STEPS = 1_000  # of an epoch
_WARM_UP_SHARE = 6  # one sixth of the records, in which everything lazy gets loaded


def measure(subject: Subject, round_number: int) -> Figures:
    """Ten metrics per step inside two loops; the clock stops when ``end`` has returned."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # threads and writer processes inherit it
    assert subject.begin is not None
    names = subject.begin()
    epochs = max(1, subject.calls.get("throughput", _RECORDS) // len(METRICS) // _STEPS)
    rows = metric_rows(_STEPS)
    run = plain_loop(subject, names, statement=subject.log_row)
    run(max(1, epochs // _WARM_UP_SHARE), _STEPS, "loss", rows)
    time.sleep(0.5)  # a background writer has begun, and loaded what it needs
    reset_peak_memory()
    memory_before, anonymous_before = memory_mib("VmRSS"), memory_mib("RssAnon")
    begin = time.perf_counter()
    run(epochs, _STEPS, "loss", rows)
    logged = time.perf_counter()
    anonymous = memory_mib("RssAnon")
    subject.end(names)
    ended = time.perf_counter()
    records = epochs * _STEPS * len(METRICS)
    return {
        "rate": records / (ended - begin) / 1e6,
        "rate_logging": records / (logged - begin) / 1e6,
        "closing": ended - logged,
        "growth": max(0.0, memory_mib("VmHWM") - memory_before),
        "anonymous": max(0.0, anonymous - anonymous_before),
        "records": float(records),
    }


def reset_peak_memory() -> None:
    """Let ``VmHWM`` begin anew (Linux)."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def memory_mib(field: str) -> float:
    """``VmRSS`` or ``RssAnon`` now, or ``VmHWM``, the peak, of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


CASE = Case(
    name="throughput",
    rows=(
        Row("rate", "scalars per second on one core, to the final files", "M/s", budget=1.0, better="more"),
        Row("rate_logging", "… while logging", "M/s", better="more"),
        Row("closing", "… time of the closing call", "s", compare=False),
        Row("growth", "… growth of memory after warm-up, peak", "MiB", budget=64.0, digits=2, compare=False),
        Row("anonymous", "… of it not in files, before the closing call", "MiB", digits=2, compare=False),
        Row("records", "… scalars in one round", "", better="more", compare=False),
    ),
    subjects=("hindsight", "flordb", "kohakuboard", "laaos", "tensorboardx", "trackio", "wandb"),
    measure=measure,
)
