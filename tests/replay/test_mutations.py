"""Random edits between two versions: how often the statement comes back to its place."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.replay.mutations import trial

TRIALS = 25


@pytest.mark.parametrize(("edits", "floor"), [(0, 1.0), (2, 0.95), (6, 0.95), (20, 0.90)])
def test_exactness_by_number_of_edits(edits: int, floor: float) -> None:
    """At least so many come back exactly, and none silently into another block."""
    rng = random.Random(20_000 + edits)

    outcomes = Counter(trial(rng, edits).outcome() for _ in range(TRIALS))

    assert outcomes["exact"] >= floor * TRIALS, outcomes
    assert outcomes["wrong block"] == 0, outcomes


@pytest.mark.slow
@pytest.mark.parametrize("edits", [1, 3, 10, 30])
def test_exactness_over_many_trials(edits: int) -> None:
    """The promise of the whole: 95 % exactly, 90 % where versions are far apart."""
    rng = random.Random(edits)

    outcomes = Counter(trial(rng, edits).outcome() for _ in range(100))

    assert outcomes["exact"] >= (0.95 if edits <= 3 else 0.90) * 100, outcomes
    assert outcomes["wrong block"] <= 1, outcomes
