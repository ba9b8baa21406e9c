"""Metrics that are never the same twice: a replay diverges by them, until the question leaves them out."""

from __future__ import annotations

from pathlib import Path

import tracker
from tests.replay.recorded import Project

TIMED = """
import os
import tracker

for epoch in tracker.loop("epoch", range(3)):
    tracker.log("pid", os.getpid())
    tracker.log("square", epoch * epoch)
"""


def test_a_question_that_leaves_them_out_is_a_new_one(tmp_path: Path) -> None:
    """A diverged answer is not taken for the answer to it; an exact one is."""
    project = Project.make(tmp_path, TIMED)
    project.record()
    project.repo.write("train.py", project.probed('"square"', 'tracker.log("cube", epoch ** 3)'))

    def ask(*ignore: str) -> list[str]:
        found = tracker.replay("cube", ignore=ignore, store=project.store, root=project.repo.folder, workers=1)
        return [found.state(run) for run in found.plan.runs]

    assert ask() == ["diverged"]
    assert ask() == ["skipped"]
    assert ask("pid") == ["exact"]
    assert ask("pid") == ["skipped"]
    frame = tracker.dataframe("cube", "fidelity", store=project.store)
    assert frame[frame["fidelity"] == "exact"]["cube"].tolist() == [0, 1, 8]
