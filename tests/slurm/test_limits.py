"""Ends that Slurm itself brings about: a job's own time limit, and a node that is lost."""

from __future__ import annotations

import shlex
import sys

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.conftest import Project
from tests.slurm.test_interruptions import TRUTH, ended, held_job
from tests.slurm.test_scripts import submit


def test_the_time_limit_of_a_job_continues_the_run(slurm: Cluster, project: Project) -> None:
    """The signal that Slurm sends before the limit puts it into the queue again; nothing is done by the test."""
    # Slurm sends it up to a minute early, and a job that has not begun by then knows no signal yet.
    job = held_job(project, timeout_min=2, slurm_signal_delay_s=20)

    ended(project, job, "preempted")
    project.release()

    assert job.result() == 16.25
    ended(project, job, "preempted", "finished")
    assert project.values("epoch", "weight") == TRUTH


def test_a_script_over_its_time_was_killed_and_goes_on_when_submitted_again(slurm: Cluster, project: Project) -> None:
    """Slurm ends it for good, with SIGTERM; the same command in a new job, under the same identity, is the next try."""
    script = project.folder / "script.py"
    script.write_text("import sys, training\ntraining.steps(sys.argv[1])\n")
    command = shlex.join([sys.executable, str(script), str(project.url.parent)])
    project.hold()
    job = submit(slurm, project, f"HINDSIGHT_RUN_ID=overtime {command}", "--time=1")
    project.wait_until_held()

    wait_until(lambda: slurm.state(job) == "TIMEOUT", project.told, patience_s=240)
    (run,) = project.runs()
    wait_until(lambda: [each.status for each in project.runs()[0].attempts] == ["killed"], project.told)
    project.release()
    again = submit(slurm, project, f"HINDSIGHT_RUN_ID=overtime {command}")
    wait_until(lambda: slurm.state(again) in ("COMPLETED", "FAILED"), project.told)

    (found,) = project.runs()
    assert (found.run, [each.status for each in found.attempts]) == (run.run, ["killed", "finished"])
    assert project.values("epoch", "weight") == TRUTH


def test_a_job_whose_node_is_lost_goes_on(slurm: Cluster, project: Project) -> None:
    """Slurm starts it again when there is a node: a further attempt, which begins at the last checkpoint."""
    job = held_job(project)

    with slurm.node_away():
        ended(project, job, "killed")  # nobody could tell it anything
        project.release()

    assert job.result() == 16.25
    ended(project, job, "preempted", "finished")
    assert project.values("epoch", "weight") == TRUTH
