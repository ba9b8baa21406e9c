"""Plain scripts in batch jobs of a real Slurm, with no decorator and no submitit."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

import tracker
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.conftest import Project

SCRIPT = """
import os, sys, training, tracker
if sys.argv[1] == "steps":
    training.steps(sys.argv[2])
elif sys.argv[1] == "tracked":
    from tracker.decorators import tracked
    tracked(training.train)(0.5)
elif sys.argv[1] == "ranked":
    tracker.log("begun", 1)
    training.ranked()
else:
    training.train(float(os.environ["RATE"]))
"""


@pytest.fixture
def script(slurm: Cluster, project: Project) -> Path:
    """A script of the project."""
    path = project.folder / "script.py"
    path.write_text(SCRIPT)
    return path


def submit(slurm: Cluster, project: Project, command: str, *options: str) -> str:
    """Submit a shell command; the id of the job."""
    project.jobs.mkdir(exist_ok=True)
    output = f"--output={project.jobs / '%j_log.out'}"
    return slurm.command("sbatch", "--parsable", "--requeue", output, "--open-mode=append", *options, "--wrap", command)


def finish(slurm: Cluster, project: Project, job: str) -> None:
    """Wait for a job to end well."""
    wait_until(lambda: slurm.state(job) in ("COMPLETED", "FAILED"), project.told)
    assert slurm.state(job) == "COMPLETED", project.told()


def test_a_script_that_is_put_back_into_the_queue_continues_its_run(
    slurm: Cluster, project: Project, script: Path
) -> None:
    """The same run, from its last checkpoint, with nothing said but ``resume=True``."""
    project.hold()
    command = shlex.join([sys.executable, str(script), "steps", str(project.url.parent)])
    job = submit(slurm, project, command)
    project.wait_until_held()

    slurm.command("scontrol", "requeue", job)
    wait_until(lambda: slurm.state(job) == "PENDING", project.told)
    project.release()
    finish(slurm, project, job)

    (run,) = project.runs()
    assert [attempt.status for attempt in run.attempts] == ["preempted", "finished"]
    assert project.values("epoch", "weight") == [[0, 2.0], [1, 5.0], [2, 9.5], [3, 16.25]]
    assert run.start is not None
    assert run.start.orchestrator["job"] == job


def test_scripts_of_one_job_are_runs_of_their_own(slurm: Cluster, project: Project, script: Path) -> None:
    """Also where nothing but the environment tells them apart."""
    one, other = (shlex.join([sys.executable, str(script), what]) for what in ("train", "tracked"))
    job = submit(slurm, project, f"RATE=0.5 {one}; RATE=1.5 {one}; {other}")

    finish(slurm, project, job)

    assert [len(run.attempts) for run in project.runs()] == [1, 1, 1]
    firsts = [loss for epoch, loss in project.values("epoch", "loss") if epoch == 0]
    assert firsts == [0.5, 1.5, 0.5]


def test_processes_of_one_step_are_ranks_of_one_run(slurm: Cluster, project: Project, script: Path) -> None:
    """``srun`` starts three: one run, one attempt, and a shard of each."""
    command = f"srun -n 3 {shlex.join([sys.executable, str(script), 'ranked'])}"

    finish(slurm, project, submit(slurm, project, command, "--ntasks=3"))

    (run,) = project.runs()
    assert (run.status, len(run.attempts)) == ("finished", 1)
    frame = tracker.dataframe("seen", store=project.url)
    seen = sorted(value for name in frame.columns if name.startswith("seen") for value in frame[name].dropna())
    assert seen == [10 * rank + step for rank in range(3) for step in range(3)]
