"""One slice of a replay from end to end: real programs, executed again with a probe in them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.replay.recorded import TRAIN, Project, fingerprint
from tracker.read.frame import dataframe
from tracker.replay.slices import run_slice

PROBE = "tracker.log('grad_norm', abs(grad))"


def truth(seed: int) -> list[float]:
    """What the probe would have logged, without any tracker."""
    random.seed(seed)
    weight, found = 0.0, []
    for _ in range(20):
        grad = random.random() - weight
        weight += 0.1 * grad
        found.append(abs(grad))
    return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.make(tmp_path, TRAIN.format(seed=7))


def test_a_seeded_program_is_answered_exactly(project: Project) -> None:
    """Every value of the probe stands in the row of its step, and is what a run with the probe would have logged."""
    view = project.record()
    plan = project.plan(view, project.probed("weight += ", PROBE), "grad_norm")
    before = fingerprint(project.repo.folder)

    result = run_slice(project.store, plan, 0)

    assert (result.outcome, result.fidelity, result.reason) == ("answered", "exact", "")
    assert (result.values, result.compared) == (20, 25)
    frame = dataframe(project.store, "loss", "grad_norm", "fidelity")
    assert frame["grad_norm"].tolist() == truth(7)
    assert frame["loss"].tolist() == [value * value for value in truth(7)]
    assert set(frame["fidelity"]) == {"exact"}
    assert fingerprint(project.repo.folder) == before
