"""Bytes on disk per scalar: ten random walks of 10,000 steps with epoch, step and phase, from a closed run."""

from __future__ import annotations

from pathlib import Path

from harness.loops import METRICS, metric_rows, plain_loop
from harness.model import Case, Figures, Row, Subject, matching_bytes

_STEPS = 10_000
_EPOCHS = 10


def measure(subject: Subject, round_number: int) -> Figures:
    """Log, close, and add up the sizes of the files."""
    assert subject.begin is not None
    names = subject.begin()
    steps = subject.calls.get("disk", _STEPS)
    run = plain_loop(subject, names, statement=subject.record or subject.log_row)
    run(_EPOCHS, steps // _EPOCHS, "loss", metric_rows(steps))
    subject.end(names)
    scalars = steps * len(METRICS)
    here = Path.cwd()
    whole = matching_bytes(subject.stores, below=here)
    if not whole:
        raise FileNotFoundError(f"nothing was written to {', '.join(subject.stores)}")
    return {"data": matching_bytes(subject.data, below=here) / scalars, "whole": whole / scalars}


CASE = Case(
    name="disk",
    rows=(
        Row("data", "bytes per scalar, files with values", "B", budget=4.0),
        Row("whole", "… everything the run left", "B"),
    ),
    subjects=("hindsight", "flordb", "kohakuboard", "laaos", "tensorboardx", "trackio", "wandb", "datafolio"),
    measure=measure,
    rounds=1,
)
