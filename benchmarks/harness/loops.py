"""Loops around the statements of a subject, compiled like ``timeit`` does, so that no wrapper is measured."""

from __future__ import annotations

import random
import struct
import textwrap
from collections.abc import Callable
from typing import Any

from harness.model import Names, Subject

METRICS = tuple(f"metric_{i}" for i in range(10))

_PLAIN = """
def benchmark(epochs, steps, name, items):
    phase = "train"
    count = len(items)
    i = 0
    for epoch in {outer}:
        for step in {inner}:
            value = row = items[i % count]
            i += 1
{statement}
"""

_TIMED = """
def benchmark(epochs, steps, name, values, clock, out):
    phase = "train"
    i = 0
    for epoch in {outer}:
        for step in {inner}:
            value = values[i]
            before = clock()
{statement}
            after = clock()
            out[i] = after - before
            i += 1
"""


def timed_loop(subject: Subject, names: Names, *, statement: str) -> Callable[..., None]:
    """``run(epochs, steps, name, values, clock, out)``: the time of each single statement goes into ``out``."""
    return _compile(_TIMED, subject, names, statement)


def plain_loop(subject: Subject, names: Names, *, statement: str) -> Callable[..., None]:
    """``run(epochs, steps, name, items)``: the statement in two loops; ``value`` and ``row`` are the items, in turn."""
    return _compile(_PLAIN, subject, names, statement)


def _compile(template: str, subject: Subject, names: Names, statement: str) -> Callable[..., None]:
    source = template.format(outer=subject.outer, inner=subject.inner, statement=textwrap.indent(statement, " " * 12))
    namespace: dict[str, Any] = dict(names)
    exec(compile(source, f"<{subject.name}>", "exec"), namespace)
    run: Callable[..., None] = namespace["benchmark"]
    return run


def random_walk(length: int, *, seed: int) -> list[float]:
    """A random walk whose values are exact in single precision, as a loss that comes from a GPU is."""
    rng = random.Random(seed)
    pack, unpack = struct.Struct("<f").pack, struct.Struct("<f").unpack
    values, level = [], 1.0
    for _ in range(length):
        level += rng.gauss(0.0, 0.01)
        values.append(unpack(pack(level))[0])
    return values


def metric_rows(length: int) -> list[dict[str, float]]:
    """``length`` steps of ten metrics, each a random walk of its own."""
    walks = [random_walk(length, seed=seed) for seed in range(len(METRICS))]
    return [dict(zip(METRICS, values, strict=True)) for values in zip(*walks, strict=True)]
