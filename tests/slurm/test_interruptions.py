"""Jobs that end before their time on a real Slurm: their runs go on in the next try, and tell what happened."""

from __future__ import annotations

import importlib
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.conftest import Project
from tests.slurm.test_jobs import executor_of
from tracker.read.catalog import RunView

CHAINED = """
import os, signal
from training import steps

def chained(folder):
    def handle(number, frame):
        with open(os.path.join(folder, "signals"), "a") as file:
            file.write(f"{signal.Signals(number).name}\\n")
        previous[number](number, frame)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGUSR2)}
    return steps(folder)
"""
TRUTH = [[0, 2.0], [1, 5.0], [2, 9.5], [3, 16.25]]


def held_job(project: Project, **parameters: object) -> object:
    """A submitted job that waits in its third epoch."""
    project.hold()
    job = executor_of(project, **parameters).submit(project.training.steps, str(project.url.parent))
    project.wait_until_held()
    return job


def ended(project: Project, job: object, *statuses: str) -> RunView:
    """The run, once its attempts have these statuses."""

    def found() -> RunView | None:
        run = job.run
        return run if [attempt.status for attempt in run.attempts] == list(statuses) else None

    def told() -> str:
        return f"{[attempt.status for attempt in job.run.attempts]}\n{project.told()}"

    return wait_until(found, told)


def test_a_signal_before_the_end_continues_the_run(slurm: Cluster, project: Project) -> None:
    """submitit's own handler puts the job into the queue again; the next try begins at the last checkpoint."""
    job = held_job(project)

    slurm.command("scancel", "--signal=USR2", job.job_id)
    ended(project, job, "preempted")
    project.release()

    assert job.result() == 16.25
    run = ended(project, job, "preempted", "finished")
    assert project.values("epoch", "weight") == TRUTH
    assert project.executed() == [0, 1, 2, 3] or project.executed() == [0, 1, 2, 2, 3]
    assert len(project.runs()) == 1
    assert run.attempts[1].start.orchestrator["restarts"] == 1


def test_a_handler_of_the_users_stands_in_front_of_ours(slurm: Cluster, project: Project) -> None:
    """What it calls is ours, and that calls submitit's: SIGTERM ends nothing, and the other puts the job back."""
    (project.folder / "chained.py").write_text(CHAINED)
    function = importlib.import_module("chained").chained
    project.hold()
    job = executor_of(project).submit(function, str(project.url.parent))
    project.wait_until_held()

    slurm.command("scancel", "--signal=TERM", job.job_id)
    wait_until(lambda: "Bypassing signal SIGTERM" in project.told(), project.told)
    slurm.command("scancel", "--signal=USR2", job.job_id)
    ended(project, job, "preempted")
    project.release()

    assert job.result() == 16.25
    ended(project, job, "preempted", "finished")
    assert (project.url.parent / "signals").read_text().split()[:2] == ["SIGTERM", "SIGUSR2"]


def test_preemption_by_a_job_with_priority_continues_the_run(slurm: Cluster, project: Project) -> None:
    """Slurm ends the process without asking anybody, and starts the job again when the other is done."""
    job = held_job(project, slurm_exclusive=True)
    high = executor_of(project, slurm_partition="high", slurm_exclusive=True)

    other = high.submit(project.training.train, 0.5)
    ended(project, job, "preempted")
    project.release()

    assert (other.result(), job.result()) == (0.5, 16.25)
    ended(project, job, "preempted", "finished")
    assert project.values("epoch", "weight") == TRUTH


def test_a_cancelled_job_is_submitted_again_under_a_new_id(slurm: Cluster, project: Project) -> None:
    """Where Slurm cancels what it preempts: the new job is a further attempt of the same run."""
    job = held_job(project, slurm_partition="spot", slurm_exclusive=True)
    high = executor_of(project, slurm_partition="high", slurm_exclusive=True)

    high.submit(project.training.train, 0.5).result()
    run = ended(project, job, "preempted")
    project.release()
    again = executor_of(project).resubmit(job)

    assert again.job_id != job.job_id
    assert again.result() == 16.25
    assert again.run.run == run.run
    ended(project, job, "preempted", "finished")
    assert project.values("epoch", "weight") == TRUTH


def test_a_job_that_its_user_cancels_was_killed(slurm: Cluster, project: Project) -> None:
    """Nobody preempted it, and nothing that it logged is lost."""
    job = held_job(project)

    job.cancel()

    ended(project, job, "killed")
    assert project.values("epoch", "weight") == TRUTH[:3]


def test_a_process_that_is_killed_loses_nothing(slurm: Cluster, project: Project) -> None:
    """SIGKILL of the job's process: its records stay, and a resubmission goes on."""
    job = held_job(project)
    victims = [each for each in psutil.process_iter() if is_of_job(each, job.job_id)]
    assert victims

    os.kill(victims[0].pid, signal.SIGKILL)
    run = ended(project, job, "killed")
    assert project.values("epoch", "weight") == TRUTH[:3]
    project.release()

    assert executor_of(project).resubmit(job).result() == 16.25
    assert job.run.run == run.run
    ended(project, job, "killed", "finished")
    assert project.values("epoch", "weight") == TRUTH


def is_of_job(process: psutil.Process, job: str) -> bool:
    """Whether it is the Python program of a job."""
    try:
        return "submitit.core._submit" in process.cmdline() and process.environ().get("SLURM_JOB_ID") == job
    except psutil.Error:
        return False


def test_an_own_checkpoint_method_is_asked(slurm: Cluster, project: Project, tmp_path: Path) -> None:
    """What it returns is called next, as a further attempt of the same run."""
    training = project.training.Training
    job = executor_of(project).submit(training(1.0), 10**9)
    wait_until(lambda: project.runs() and project.runs()[0].start, project.told)

    slurm.command("scancel", "--signal=USR2", job.job_id)
    run = wait_until(lambda: job.run if len(job.run.attempts) == 2 else None, project.told)
    slurm.command("scancel", job.job_id)

    assert run.attempts[0].status == "preempted"
    assert len(project.runs()) == 1


def test_time_that_is_up_for_good_is_told(slurm: Cluster, project: Project) -> None:
    """A function that cannot go on, with no time left: submitit gives up, and the run was killed."""
    project.hold()
    executor = executor_of(project)
    job = executor.submit(project.training.steps, str(project.url.parent), resume=False)
    project.wait_until_held()

    slurm.command("scancel", "--signal=USR2", job.job_id)

    with pytest.raises(Exception, match="not checkpointable"):
        job.result()
    run = ended(project, job, "killed")
    assert "not requeued" in run.attempts[0].end.error.lower()
