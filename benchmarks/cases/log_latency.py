"""What one call costs the training loop: single calls inside two loops, the loop itself, and the other ways to log."""

from __future__ import annotations

import time
from array import array

from harness.loops import METRICS, plain_loop, random_walk, timed_loop
from harness.model import Case, Figures, Names, Row, Subject
from harness.stats import latency_figures

_CALLS = 200_000
_INNER = 1_000  # steps of an epoch


def measure(subject: Subject, round_number: int) -> Figures:
    """Percentiles of single ``log`` calls, then costs per call of the rest."""
    assert subject.begin is not None
    names = subject.begin()
    calls = subject.calls.get("log_latency", _CALLS)
    out = array("q", bytes(8 * calls))
    values = random_walk(calls, seed=round_number)
    run = timed_loop(subject, names, statement=subject.log)
    run(2, 100, "loss", values, time.perf_counter_ns, array("q", bytes(8 * 200)))  # warm-up
    run(calls // _INNER, _INNER, "loss", values, time.perf_counter_ns, out)
    figures: Figures = dict(latency_figures(out))
    if subject.ours or subject.name == "flordb":
        figures["loop"] = _iteration_cost_us(subject, names)
    if subject.ours:
        figures |= _other_calls(subject, names)
    subject.end(names)
    return figures


def _iteration_cost_us(subject: Subject, names: Names) -> float:
    """One iteration of the inner loop with an empty body, less that of a plain one."""
    iterations = subject.calls.get("log_latency", _CALLS)
    with_library = plain_loop(subject, names, statement="pass")
    plain = plain_loop(Subject(name="plain"), {}, statement="pass")
    spent = []
    for run in (with_library, plain):
        run(1, 100, "loss", [0.0])
        begin = time.perf_counter_ns()
        run(1, iterations, "loss", [0.0])
        spent.append(time.perf_counter_ns() - begin)
    return max(0, spent[0] - spent[1]) / iterations / 1e3


def _other_calls(subject: Subject, names: Names) -> dict[str, float]:
    """Mean cost per call in µs of the calls that only this project has, each timed as one loop of many."""
    row = {metric: 1.0 + i for i, metric in enumerate(METRICS)}
    return {
        "labels": _mean_us(names, subject.log_labels, 1.0),
        "log_many": _mean_us(names, "tracker.log_many(row)", row) / len(METRICS),
        "nested_step": _mean_us(names, "with tracker.step(phase=phase): pass", 1.0),
        "commit": _mean_us(names, "tracker.commit()", 1.0, count=500),
    }


def _mean_us(names: Names, statement: str, item: object, *, count: int = 50_000) -> float:
    """Mean time of the statement inside one recorded iteration, less that of the loop around it."""
    in_one_iteration = Subject(name="hindsight", outer='tracker.loop("epoch", range(epochs))')
    spent = []
    for text in (statement, "pass"):
        run = plain_loop(in_one_iteration, names, statement=text)
        run(1, 50, "loss", [item])
        begin = time.perf_counter_ns()
        run(1, count, "loss", [item])
        spent.append(time.perf_counter_ns() - begin)
    return max(0, spent[0] - spent[1]) / count / 1e3


CASE = Case(
    name="log_latency",
    rows=(
        Row("p50", "log of a scalar in two loops, p50", "µs", budget=0.6),
        Row("p99", "… p99", "µs", budget=2.0),
        Row("p99_99", "… p99.99", "µs", budget=1_000.0),
        Row("max", "… worst", "µs", budget=10_000.0),
        Row("loop", "loop, per iteration", "µs", budget=1.0),
        Row("labels", "log with a label", "µs"),
        Row("log_many", "log_many of ten metrics, per metric", "µs"),
        Row("nested_step", "enter and leave a step context", "µs"),
        Row("commit", "commit", "µs"),
    ),
    subjects=("nothing", "bare", "hindsight", "flordb", "kohakuboard", "laaos", "tensorboardx", "trackio", "wandb"),
    measure=measure,
    rounds=4,
    baseline="bare: a plain-Python pack_into of a mapped file, without loops or any promise",
)
