"""How long it takes to put one log statement into another version of a script, by the length of the script."""

from __future__ import annotations

import ast
import contextlib
import io
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.model import Case, Figures, Row, Subject
from harness.processes import PROJECT

_LINES = (50, 200, 500)
_TIMES = 9
_PROBE = 'tracker.log("norm", float(norm))\n'
_FUNCTION = '''
def stage_{n}(rows, scale={n}, limit=10):
    """Part {n} of the preparation."""
    total, kept = 0.0, []
    for number, row in enumerate(rows):
        value = row * scale + number
        if value > limit:
            total += value
            kept.append(row)
        elif value < -limit:
            total -= value
    mean = total / max(1, len(kept))
    return [row - mean for row in kept]

'''
_MAIN = """
rows = load("digits")
for epoch in tracker.loop("epoch", range(10)):
    for step, batch in enumerate(rows):
        loss, gradient = compute(batch, stage_0(batch))
        norm = abs(gradient)
        update(gradient, rate=0.1)
        {probe}print(step, loss)
    tracker.log("loss", loss)
"""


def measure(subject: Subject, round_number: int) -> Figures:
    """Medians over different pairs of versions, in one process that has put a statement in before."""
    propagate = _propagate if subject.ours else _backprop
    figures: Figures = {}
    for lines in _LINES:
        spent = [_seconds(propagate, old, new) for old, new in _pairs(lines, subject.calls.get("propagation", _TIMES))]
        figures[f"ms_{lines}"] = statistics.median(spent[1:]) * 1e3
    return figures


def _pairs(lines: int, times: int) -> Iterator[tuple[str, str]]:
    """Old versions without the statement and new ones with it; in the new ones some functions were changed."""
    head = (PROJECT / "tests" / "replay" / "scripts" / "digits_softmax.py").read_text().split("\n\n")[0]
    count = max(1, (lines - 12) // (_FUNCTION.count("\n")))
    functions = [_FUNCTION.format(n=n) for n in range(count)]
    for turn in range(times + 1):
        changed = [
            text.replace("limit=10", f"limit={turn + 11}").replace("kept", "chosen") if n % 4 == turn % 4 else text
            for n, text in enumerate(functions)
        ]
        begin = f"{head}\n\nimport tracker\n"
        old = begin + "".join(functions) + _MAIN.format(probe="")
        yield old, begin + "".join(changed) + _MAIN.format(probe=_PROBE + " " * 8)


def _seconds(propagate: Callable[[str, str], str], old: str, new: str) -> float:
    begin = time.perf_counter()
    text = propagate(old, new)
    spent = time.perf_counter() - begin
    if ".log('norm', float(norm))" not in ast.unparse(ast.parse(text)):
        raise RuntimeError("the statement was not put in")
    return spent


def _propagate(old: str, new: str) -> str:
    from tracker.replay import propagate

    return propagate({"train.py": old}, {"train.py": new}, "norm").sources["train.py"]


def _backprop(old: str, new: str) -> str:
    from flordb.hlast import backprop

    old, new = _in_its_words(old), _in_its_words(new)
    Path("old.py").write_text(old)
    Path("new.py").write_text(new)
    line = next(number for number, text in enumerate(new.splitlines(), 1) if '"norm"' in text)
    with contextlib.redirect_stdout(io.StringIO()):
        backprop(line, "new.py", "old.py", "out.py")
    text = Path("out.py").read_text()
    Path("out.py").unlink()
    return text


def _in_its_words(text: str) -> str:
    return text.replace("import tracker", "import flordb as flor").replace("tracker.", "flor.")


CASE = Case(
    name="propagation",
    rows=(
        Row("ms_50", "one log statement put into another version of 50 lines", "ms"),
        Row("ms_200", "… of 200 lines", "ms", budget=50.0),
        Row("ms_500", "… of 500 lines", "ms", budget=100.0),
    ),
    subjects=("hindsight", "flordb"),
    measure=measure,
    rounds=1,
    timeout_s=600.0,
)
