"""Percentiles, medians, and the cost of reading the clock."""

from __future__ import annotations

import statistics
import time
from array import array
from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` of the sorted values do not exceed (nearest rank)."""
    rank = max(0, min(len(ordered) - 1, int(len(ordered) * share + 0.999999) - 1))
    return ordered[rank]


def clock_cost_ns(samples: int = 100_000) -> float:
    """Median difference of two readings of the clock with nothing in between."""
    clock = time.perf_counter_ns
    out = array("q", bytes(8 * samples))
    for i in range(samples):
        before = clock()
        after = clock()
        out[i] = after - before
    return float(statistics.median(out))


def latency_figures(calls_ns: array[int]) -> dict[str, float]:
    """p50, p99, p99.99 and worst of single calls in µs, without the clock's own cost."""
    cost = clock_cost_ns()
    ordered = sorted(calls_ns)
    shares = {"p50": 0.5, "p99": 0.99, "p99_99": 0.9999, "max": 1.0}
    return {key: max(0.0, percentile(ordered, share) - cost) / 1e3 for key, share in shares.items()}


def median_by_key(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median over rounds of every figure that some round has."""
    keys = dict.fromkeys(key for figures in rounds for key in figures)
    return {key: statistics.median([figures[key] for figures in rounds if key in figures]) for key in keys}
