"""Random programs, probes, checkpoints and slices: a replay gives what the program would have logged."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, currently_in_test_context, event, given, settings
from hypothesis import strategies as st

from tests.replay.generated import HELPER, Random, programs
from tests.replay.programs import Project, logged, make_project

LEVELS = ("epoch", "step", "part")
QUICK = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
FULL = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
CHECKPOINTS = st.sampled_from(["all", "all", "all", "sparse", "sparse", "none", "adaptive"])
ITERATIONS = st.none() | st.sets(st.integers(0, 4), min_size=1, max_size=3)


def drop_some_checkpoints(project: Project, run: str, chance: random.Random) -> None:
    """Remove manifests, as a policy that takes fewer would not have written them."""
    found = [info.key for info in project.store.list(f"runs/{run}/checkpoints/") if info.key.endswith(".json")]
    project.store.delete([key for key in found if chance.random() < 0.6])


def check(made: Random, checkpoints: str, asked: set[int] | None, seed: int) -> None:
    """Record, ask, and compare with the truth."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        project = make_project(Path(folder))
        (project.folder / "helper.py").write_text(HELPER)
        project.commit(made.source)
        run = project.record(checkpoints="all" if checkpoints == "sparse" else checkpoints)
        if checkpoints == "sparse":
            drop_some_checkpoints(project, run, random.Random(seed))
        project.commit(made.probed)
        wanted = [row for row in logged(project, "probe") if asked is None or row[0].get("epoch") in asked]
        iterations: dict[str, Any] = {} if asked is None else {"iterations": {"epoch": asked}}

        done = project.replay("probe", **iterations)

        results = list(done.results.values())
        assert all(result.outcome == "answered" for result in results), results
        truth = sorted(((*(float(row.get(loop, -1)) for loop in LEVELS), value) for row, value in wanted), key=repr)
        found = [row for row in project.answers("probe", *LEVELS) if asked is None or row[0] >= 0]
        assert repr(found) == repr(truth), results
        for result in results if currently_in_test_context() else []:
            event(f"{checkpoints}: {result.fidelity}")


@QUICK
@given(programs(), CHECKPOINTS, ITERATIONS, st.integers(0, 99))
def test_a_replay_is_the_truth(made: Random, checkpoints: str, asked: set[int] | None, seed: int) -> None:
    """Every value that is asked for, and no other."""
    check(made, checkpoints, asked, seed)


@pytest.mark.slow
@pytest.mark.skipif("HINDSIGHT_LONG_TESTS" not in os.environ, reason="takes minutes, and new programs each time")
@FULL
@given(programs(), CHECKPOINTS, ITERATIONS, st.integers(0, 99))
def test_a_replay_is_the_truth_often(made: Random, checkpoints: str, asked: set[int] | None, seed: int) -> None:
    """The same with many programs."""
    check(made, checkpoints, asked, seed)
