"""Runs of submitted functions are asked for what they did not log, from the store alone."""

from __future__ import annotations

import shutil

from tracker.decorators import TrackedExecutor

import tracker
from tests.slurm.conftest import Project


def test_a_forgotten_metric_is_answered_exactly(project: Project) -> None:
    """Of a function, and of an object that can be called; their project is elsewhere by then."""
    executor = TrackedExecutor(project.jobs, cluster="local")
    jobs = [
        executor.submit(project.training.steps, str(project.url.parent)),
        executor.submit(project.training.Training(2.0), 3),
    ]
    for job in jobs:
        job.result()
    today = project.url.parent / "today"
    shutil.copytree(project.folder, today)
    shutil.rmtree(project.folder / ".git")
    text = (today / "training.py").read_text()
    for name, value in (("weight", "weight[0]"), ("loss", "self.rate * epoch")):
        line = f'tracker.log("{name}", {value})'
        text = text.replace(line, f'{line}; tracker.log("half", {value} / 2)')
    (today / "training.py").write_text(text)

    found = tracker.replay("half", store=str(project.url), root=today, workers=2)

    assert [found.state(run) for run in found.plan.runs] == ["exact", "exact"], found.results
    assert sorted(value for _, value in project.values("epoch", "half")) == [0.0, 1.0, 1.0, 2.0, 2.5, 4.75, 8.125]
