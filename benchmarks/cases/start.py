"""What a process pays before its first record: the import, the first log, and a whole process that logs once."""

from __future__ import annotations

import time
from inspect import getsource
from pathlib import Path

from harness.model import Case, Figures, Row, Subject
from harness.scripts import run_script
from harness.stats import median_by_key

_AT_LEAST, _AT_MOST, _ENOUGH_S = 2, 7, 3.0  # repetitions, fewer for what takes long
_FIRST_LOG = """\
from __future__ import annotations
import time
started = time.perf_counter()
{begin}
names = begin()
globals().update(names)
name, value, step = "loss", 1.0, 0
{log}
spent = time.perf_counter() - started
{end}
end(names)
with open("first.txt", "w") as file:
    file.write(str(spent))
"""


def measure(subject: Subject, round_number: int) -> Figures:
    """Alternate an empty interpreter, the import, and a script that logs one value."""
    _once(subject)  # everything is in the page cache
    rounds: list[dict[str, float]] = []
    begin = time.monotonic()
    while len(rounds) < _AT_LEAST or (len(rounds) < _AT_MOST and time.monotonic() - begin < _ENOUGH_S):
        rounds.append(_once(subject))
    return dict(median_by_key(rounds))


def _once(subject: Subject) -> dict[str, float]:
    empty = _wall_ms("empty.py", "pass\n")
    figures = {"import": max(0.0, _wall_ms("imports.py", f"import {subject.module}\n") - empty)}
    if subject.log:
        figures["process"] = _wall_ms("first.py", _first_log(subject)) - empty
        figures["first_log"] = float(Path("first.txt").read_text()) * 1e3
    return figures


def _first_log(subject: Subject) -> str:
    """A script with the statements of the subject; importing its file would load modules before the clock starts."""
    assert subject.begin is not None
    return _FIRST_LOG.format(begin=getsource(subject.begin), end=getsource(subject.end), log=subject.log)


def _wall_ms(name: str, text: str) -> float:
    """Wall time of a process that runs the script."""
    begin = time.perf_counter()
    run_script(name, text)
    return (time.perf_counter() - begin) * 1e3


CASE = Case(
    name="start",
    rows=(
        Row("import", "import, beyond an empty interpreter", "ms", budget=60.0),
        Row("first_log", "import to the end of the first log", "ms", budget=150.0),
        Row("process", "a script that logs once, beyond an empty one", "ms"),
    ),
    subjects=("hindsight", "flordb", "kohakuboard", "laaos", "tensorboardx", "trackio", "wandb", "datafolio"),
    measure=measure,
    rounds=3,
)
