"""A ``TrackedExecutor`` without a cluster: processes of this machine, and calls in this process."""

from __future__ import annotations

import functools
import pickle
import signal
from pathlib import Path

import pytest
from tracker.decorators import TrackedExecutor

from tests.slurm.cluster import wait_until
from tests.slurm.conftest import Project
from tracker.errors import BadSetting, InputError, NotFound


def test_processes_of_this_machine_are_runs(project: Project) -> None:
    """With settings of the executor's own, and names."""
    executor = TrackedExecutor(project.jobs, cluster="local", name="sweep", tags=["night"], project="mine")
    executor.update_parameters(timeout_min=5, slurm_partition="ignored")

    jobs = [
        executor.submit(functools.partial(project.training.train, epochs=2), 0.5),
        executor.submit(project.training.Training(1.0), 2),
    ]

    assert [job.result() for job in jobs] == [0.5, 1.0]
    run = jobs[0].run
    assert run.arguments == {"lr": 0.5, "epochs": 2}
    assert (run.name, run.tags, run.project, run.status) == ("sweep", ("night",), "mine", "finished")
    again = pickle.loads(pickle.dumps(jobs[0]))
    assert again.run.run == run.run


def test_time_that_is_up_continues_the_run(project: Project) -> None:
    """submitit's executor of this machine ends the process and starts it again."""
    project.hold()
    executor = TrackedExecutor(project.jobs, cluster="local")
    executor.update_parameters(timeout_min=10)
    job = executor.submit(project.training.steps, str(project.url.parent))
    project.wait_until_held()

    for process in _processes(job):
        process.send_signal(signal.SIGUSR2)  # as the controller sends it when time is up
    wait_until(lambda: [a.status for a in job.run.attempts][:1] == ["preempted"], project.told)
    project.release()

    assert job.result() == 16.25
    assert [attempt.status for attempt in job.run.attempts] == ["preempted", "finished"]
    assert project.values("epoch", "weight") == [[0, 2.0], [1, 5.0], [2, 9.5], [3, 16.25]]


def test_a_killed_job_that_is_submitted_again_was_killed(project: Project) -> None:
    """Also where its time had been up before, and it had gone on."""
    project.hold()
    executor = TrackedExecutor(project.jobs, cluster="local")
    executor.update_parameters(timeout_min=10)
    job = executor.submit(project.training.steps, str(project.url.parent))
    project.wait_until_held()
    for process in _processes(job):
        process.send_signal(signal.SIGUSR2)
    wait_until(lambda: [a.status for a in job.run.attempts] == ["preempted", "running"], project.told)

    for process in _processes(job):
        process.kill()
    wait_until(job.done, project.told)
    project.release()

    assert executor.resubmit(job).result() == 16.25
    assert [attempt.status for attempt in job.run.attempts] == ["preempted", "killed", "finished"]


def _processes(job: object) -> list[object]:
    import psutil

    return psutil.Process(job._process.pid).children()


@pytest.mark.filterwarnings("ignore")
def test_calls_in_this_process_are_runs(project: Project) -> None:
    """``debug`` calls the function where its result is asked for."""
    job = TrackedExecutor(project.jobs, cluster="debug").submit(project.training.train, 0.5)

    with pytest.raises(NotFound):
        _ = job.run
    assert job.result() == 0.5
    assert job.run.status == "finished"
    assert job.run.arguments["lr"] == 0.5


@pytest.mark.filterwarnings("ignore")
def test_a_call_that_is_submitted_again_in_this_process_continues_its_run(project: Project) -> None:
    """As elsewhere."""
    executor = TrackedExecutor(project.jobs, cluster="debug")
    job = executor.submit(project.training.train, 0.5)
    assert job.result() == 0.5

    again = executor.resubmit(job)

    assert again.result() == 0.5
    assert (again.run.run, len(again.run.attempts), len(project.runs())) == (job.run.run, 2, 1)


@pytest.mark.filterwarnings("ignore")
def test_the_run_of_a_job_is_looked_for_where_it_was_recorded(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the project of its function, whatever that is wrapped in and wherever the job is asked."""
    monkeypatch.delenv("HINDSIGHT_STORE")
    monkeypatch.chdir(tmp_path)
    executor = TrackedExecutor(project.jobs, cluster="debug")
    train, decorated, of_class = project.training.train, project.training.decorated, project.training.Training(1.0)
    jobs = [executor.submit(functools.partial(train, epochs=2), 0.5), executor.submit(decorated, 0.5)]

    for job in (*jobs, executor.submit(of_class, 2)):
        job.result()
        assert job.run.store.url == str(project.folder / ".hindsight")


def test_the_store_that_the_executor_names_is_used(project: Project) -> None:
    """It comes before that of the environment."""
    other = project.url.parent / "other"
    executor = TrackedExecutor(project.jobs, cluster="local", store=str(other))

    job = executor.submit(project.training.train, 0.5)

    assert job.result() == 0.5
    assert job.run.store.url == str(other)
    assert not project.url.exists()


def test_slips_are_told_before_anything_is_submitted(project: Project) -> None:
    """A setting that there is not, and a job of another executor's."""
    import submitit

    with pytest.raises(BadSetting, match="stroe"):
        TrackedExecutor(project.jobs, cluster="local", stroe="x")

    job = submitit.LocalExecutor(project.jobs).submit(project.training.train, 0.5)
    assert job.result() == 0.5
    with pytest.raises(InputError, match="not submitted by a TrackedExecutor"):
        TrackedExecutor(project.jobs, cluster="local").resubmit(job)


def test_auto_takes_this_machine_where_there_is_no_slurm(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As nothing does; where there is one it takes that."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "srun").touch(mode=0o755)

    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path / "empty"))
        job = TrackedExecutor(project.jobs, cluster="auto").submit(project.training.train, 0.5)
        assert TrackedExecutor(project.jobs).cluster == "local"
        patched.setenv("PATH", str(tmp_path / "slurm"))
        assert TrackedExecutor(project.jobs, cluster="auto").cluster == "slurm"

    assert job.result() == 0.5
    assert job.run.status == "finished"


def test_an_executor_of_submitits_own_runs_tracked_functions(project: Project) -> None:
    """The run's identity is the job then."""
    import submitit

    job = submitit.LocalExecutor(project.jobs).submit(project.training.decorated, 0.5)

    assert job.result() == 0.5
    (run,) = project.runs()
    assert run.document.launch_key == f"submitit/{project.jobs}/{job.job_id}"
    assert run.start is not None
    assert run.start.orchestrator["cluster_kind"] == "local"
