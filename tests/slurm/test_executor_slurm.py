"""The executor ``slurm`` keeps the contract of all executors, and what its jobs alone can meet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import submitit

from tests.replay.executor_contract import (
    PROBE,
    TRAIN,
    ExecutorContract,
    gate_of,
    planned,
    programs,
    results,
    shut,
    wait_for,
)
from tests.replay.programs import Project, make_project, program
from tests.slurm.cluster import Cluster
from tracker.errors import BadSetting, Unavailable
from tracker.replay import slurm, slurm_queue
from tracker.replay.asking import read_replay, replay
from tracker.replay.documents import Plan, Question
from tracker.replay.slices import run_slice


def children_of(process: subprocess.Popen[bytes]) -> set[str]:
    """The names of the programs that a process has started."""
    try:
        return {each.name() for each in psutil.Process(process.pid).children()}
    except psutil.Error:
        return set()


def jobs_of(cluster: Cluster, reason: str) -> list[str]:
    """The jobs and tasks of arrays that wait for this reason."""
    rows = [line.split() for line in cluster.command("squeue", "-h", "-r", "-t", "PD", "-o", "%i %r").splitlines()]
    return [job for job, *why in rows if why == [reason]]


@contextmanager
def maximum(cluster: Cluster, partition: str, minutes: str) -> Iterator[None]:
    """A partition with a limit of time."""
    cluster.command("scontrol", "update", f"partitionname={partition}", f"maxtime={minutes}")
    try:
        yield
    finally:
        cluster.command("scontrol", "update", f"partitionname={partition}", "maxtime=UNLIMITED")


class TestContract(ExecutorContract):
    """Slices as tasks of a real Slurm's array."""

    executor = "slurm"

    @pytest.fixture
    def engine(self, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
        monkeypatch.setenv("SLURM_CONF", cluster.configuration)
        monkeypatch.setenv("HINDSIGHT_SLURM", json.dumps({"folder": str(tmp_path / "jobs"), "mem": None}))
        monkeypatch.chdir(tmp_path)
        return cluster

    def last_job(self, engine: Cluster, project: Project, process: subprocess.Popen[bytes]) -> str:
        """The job that waits when all others are done."""

        def left() -> list[str]:
            return engine.command("squeue", "-h", "-r", "-t", "PD,R,CG", "-o", "%i").split()

        wait_for(lambda: len(results(project)) == 2 and programs(project), "no program waits", process)
        wait_for(lambda: len(left()) == 1, "more than one job is left", process)
        return left()[0]

    def test_a_job_that_dies_is_submitted_again(self, engine: Cluster, project: Project, wanted: list[object]) -> None:
        """The process that executes a slice is killed: a second job answers it, and nobody has to ask again."""
        shut(project)
        process = self.begin(project)
        program = wait_for(lambda: next(iter(programs(project)), None), "no program was started", process)
        worker = next(each for each in program.parents() if "submitit.core._submit" in " ".join(each.cmdline()))
        os.kill(worker.pid, signal.SIGKILL)
        psutil.wait_procs([program], timeout=60)
        gate_of(project).unlink()

        assert process.wait(240) == 0
        assert project.values("probe", "epoch", "step") == wanted

    def test_a_job_that_is_put_back_into_the_queue_goes_on(
        self, engine: Cluster, project: Project, wanted: list[object]
    ) -> None:
        """Slurm ends the program as it ends the job: that is no failure of the program's."""
        shut(project, only_after=2)
        process = self.begin(project)
        job = self.last_job(engine, project, process)
        engine.command("scontrol", "requeue", job)
        wait_for(lambda: not programs(project), "the program goes on", process)
        gate_of(project).unlink()

        assert process.wait(240) == 0
        assert project.values("probe", "epoch", "step") == wanted

    def test_a_cancelled_job_is_told(self, engine: Cluster, project: Project) -> None:
        """A person did not want it: it is not submitted again, and its slice says so."""
        shut(project, only_after=2)
        process = self.begin(project)
        job = self.last_job(engine, project, process)
        engine.command("scancel", job)

        assert process.wait(240) == 1
        assert "CANCELLED" in (project.folder.parent / "asking.log").read_text()

    def test_jobs_of_a_killed_replay_are_followed(
        self, engine: Cluster, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it submitted goes on, and asking again submits nothing twice. Files of jobs are for their user alone, as
        they may hold options of the store, and are gone after success.
        """
        shut(project)
        process = self.begin(project)
        wait_for(lambda: len(programs(project)) >= 2, "no two programs wait", process)
        process.kill()
        process.wait()
        (folder,) = (project.url.parent / "jobs").iterdir()
        mode = folder.stat().st_mode & 0o777
        known = set(engine.command("squeue", "-h", "-t", "all", "-o", "%F").split())
        replay = planned(project)
        with monkeypatch.context() as patched:
            patched.setattr(slurm_queue, "_COMMAND_S", 0.0)
            with pytest.raises(Unavailable, match="Slurm does not answer"):
                self.execute(replay, project)  # what is not known to have ended is not submitted again

        again = self.begin(project)
        wait_for(lambda: "squeue" in children_of(again), "it does not follow", again)  # else nothing is left to follow
        gate_of(project).unlink()
        assert again.wait(240) == 0
        assert set(engine.command("squeue", "-h", "-t", "all", "-o", "%F").split()) == known
        assert (mode, folder.exists()) == (0o700, False)

    def test_jobs_that_can_never_start_are_told(
        self, engine: Cluster, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They ask for more time than there is: Slurm takes them, and would let them wait for ever."""
        monkeypatch.setenv("HINDSIGHT_SLURM", json.dumps({"folder": str(project.url.parent), "partition": "high"}))
        monkeypatch.setattr(slurm, "GRACE_S", 0.0)
        with maximum(engine, "high", "10"), pytest.warns(UserWarning, match="3 jobs .* wait: Partition"):
            told = self.execute(planned(project), project)

        assert {result.outcome for result in told} == {"failed"}
        assert all("PENDING, Partition" in result.reason for result in told), told
        assert not engine.command("squeue", "-h", "-t", "PD", "-p", "high", "-o", "%i")

    def test_jobs_that_are_not_needed_are_cancelled(
        self, engine: Cluster, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Their slices were answered elsewhere, while somebody held them. The files stay while another's job, as of a
        second one who asks, has its own among them.
        """
        held = {"folder": str(project.url.parent / "jobs"), "additional_parameters": {"hold": True}}
        monkeypatch.setenv("HINDSIGHT_SLURM", json.dumps(held))
        process = self.begin(project)
        own = wait_for(lambda: jobs_of(engine, "JobHeldUser"), "nothing is held", process)
        (folder,) = (project.url.parent / "jobs").iterdir()
        other = submitit.SlurmExecutor(folder)
        other.update_parameters(time=5, use_srun=False, additional_parameters={"hold": True})
        job = other.submit(print)
        replay = read_replay(project.store, folder.name)
        for number in replay.waiting:
            run_slice(project.store, replay.plan, number)

        assert process.wait(240) == 0
        assert "wait: JobHeldUser" in (project.folder.parent / "asking.log").read_text()
        assert jobs_of(engine, "JobHeldUser") == [job.job_id]
        assert {engine.state(each.partition("_")[0]) for each in own} == {"CANCELLED"}
        engine.command("scontrol", "release", job.job_id)
        assert job.result() is None

    def test_a_setting_that_submitit_does_not_take_is_told(
        self, engine: Cluster, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With its name; and so is a machine where Slurm's commands are not to be found."""
        replay = planned(project)
        with monkeypatch.context() as patched:
            patched.setenv("PATH", str(project.folder))
            with pytest.raises(Unavailable, match="srun"):
                self.execute(replay, project)
        for wrong in ({"partitoin": "main"}, {"folder": 5}):
            monkeypatch.setenv("HINDSIGHT_SLURM", json.dumps({"folder": str(project.url.parent), **wrong}))
            with pytest.raises(BadSetting, match=f"setting slurm.*{next(iter(wrong))}"):
                self.execute(replay, project)

    def test_a_restarted_controller_loses_nothing(
        self, engine: Cluster, project: Project, wanted: list[object]
    ) -> None:
        """While it is away the jobs go on; nothing is submitted twice, and nothing is told to have failed."""
        shut(project)
        process = self.begin(project)
        wait_for(lambda: len(programs(project)) >= 2, "no two programs wait", process)

        with engine.controller_away():
            gate_of(project).unlink()
            wait_for(lambda: len(results(project)) >= 2, "the jobs do not go on", process)

        assert process.wait(240) == 0
        assert project.values("probe", "epoch", "step") == wanted


EMPTY = Plan(replay="0" * 26, created=0.0, question=Question(names=("x",)), workers=1)


def test_one_of_several_partitions_that_is_too_small(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm says what the one lacks that it looked at last: that is told, and the job is not given up."""
    monkeypatch.setenv("SLURM_CONF", cluster.configuration)
    parameters = {"partition": "high,main", "mem": None, "additional_parameters": {"begin": "now+1hour"}}
    queue = slurm_queue.Queue(str(tmp_path), EMPTY, parameters, {}, tmp_path / "jobs", print)
    jobs = queue.submit([0]).values()

    (standing,) = queue.standing(jobs).values()
    queue.cancel(list(jobs))

    assert (standing.state, standing.reason) == ("PENDING", "BeginTime")
    assert set(standing.partitions.split(",")) == {"high", "main"}
    for reason in ("PartitionTimeLimit", "PartitionConfig", "PartitionNodeLimit"):
        refused = standing._replace(reason=reason)
        assert (refused.is_held_up, refused.never_starts) == (True, False)
        # Nodes that are down may come back, which no other of these reasons can mean.
        assert refused._replace(partitions="high").never_starts == (reason != "PartitionNodeLimit")


def test_options_that_no_job_can_be_given_are_told(cluster: Cluster, tmp_path: Path) -> None:
    """As what they are, and not as a setting of Slurm's."""
    queue = slurm_queue.Queue(str(tmp_path), EMPTY, {}, {"lock": threading.Lock()}, tmp_path / "jobs", print)

    with pytest.raises(BadSetting, match="storage options lock cannot be given to jobs"):
        queue.submit([0])


@pytest.mark.s3
@pytest.mark.parametrize("address", ["obstore"], indirect=True)
def test_options_of_a_bucket_reach_the_jobs(
    cluster: Cluster, tmp_path: Path, address: tuple[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the store is there, and no credentials in the environment."""
    monkeypatch.setenv("SLURM_CONF", cluster.configuration)
    monkeypatch.setenv("HINDSIGHT_SLURM", json.dumps({"folder": str(tmp_path / "jobs")}))
    url, options = address
    project = make_project(tmp_path)
    project.commit(program(TRAIN))
    settings = {"HINDSIGHT_STORE": url, "HINDSIGHT_STORAGE_OPTIONS": json.dumps(options)}
    command = [sys.executable, "train.py"]
    subprocess.run(command, cwd=project.folder, env={**os.environ, **settings}, check=True, timeout=120)
    project.commit(program(TRAIN, inner=PROBE))

    done = replay("probe", root=project.folder, store=url, storage_options=options, executor="slurm", workers=2)

    assert {result.fidelity for result in done.results.values()} == {"exact"}, done.results
