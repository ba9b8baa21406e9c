"""A real Slurm of one node for tests: munged, slurmctld and slurmd on free ports of 127.0.0.1, stopped by their ids."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.servers import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
PATIENCE_S = 120.0
CPUS = 4  # more than there are may be stated, so that tests do not wait for each other's jobs

# cred_expire: a job that was put into the queue again waits until its credential has expired.
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
JobAcctGatherFrequency=0
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,default_queue_depth=1000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=3
MinJobAge=3600
SlurmctldTimeout=30
SlurmdTimeout=60
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=2
PartitionName=spot Nodes={host} State=UP PriorityTier=1 PreemptMode=CANCEL GraceTime=2
PartitionName=high Nodes={host} State=UP PriorityTier=10 PreemptMode=OFF
"""


@dataclass(frozen=True)
class Cluster:
    """A running Slurm."""

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]]

    @property
    def configuration(self) -> str:
        """What ``SLURM_CONF`` has to be."""
        return str(self.folder / "slurm.conf")

    def command(self, *words: str, check: bool = True, **options: Any) -> str:
        """What one of Slurm's commands prints."""
        environment = {**os.environ, "SLURM_CONF": self.configuration}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, **options)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr}{self.log()}")
        return done.stdout.strip()

    @contextlib.contextmanager
    def controller_away(self) -> Iterator[None]:
        """Stop slurmctld for the duration of the block, and start it again with its state; nodes and jobs go on."""
        _stop(self.daemons["slurmctld"])  # killed, it would forget which jobs it had started, and drain the node
        try:
            yield
        finally:
            self.daemons["slurmctld"] = _start(self.folder, ["slurmctld", "-D"], {"SLURM_CONF": self.configuration})
            wait_until(lambda: self.command("scontrol", "ping", check=False).endswith("UP"), self.log)

    @contextlib.contextmanager
    def node_away(self) -> Iterator[None]:
        """Lose the node for the duration of the block: slurmd and all that it had started are killed."""
        node = self.command("sinfo", "-h", "-N", "-o", "%N").split()[0]
        self.daemons["slurmd"].kill()
        _kill_jobs(self)
        self.daemons["slurmd"].wait()
        self.command("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")  # not after SlurmdTimeout
        try:
            yield
        finally:
            self.daemons["slurmd"] = _start_node(self)
            wait_until(lambda: self.command("sinfo", "-h", "-p", "main", "-o", "%T") in ("idle", "mixed"), self.log)

    def state(self, job: str) -> str:
        """RUNNING, PENDING, COMPLETED and so on; of an array the states of its tasks, without repetition."""
        return " ".join(sorted(set(self.command("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").split())))

    def log(self) -> str:
        """The last lines of what the daemons wrote."""
        found = []
        for path in sorted(self.folder.glob("*.log")):
            found += [f"== {path.name}", *path.read_text(errors="replace").splitlines()[-20:]]
        return "\n".join(found)


def missing() -> str | None:
    """Why no Slurm can be started here; ``None`` where one can."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    lacking = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    return f"{', '.join(lacking)} not installed (Debian: slurmctld slurmd slurm-client munge)" if lacking else None


def require() -> None:
    """Skip the test where no Slurm can be started, and say why; fail it where ``HINDSIGHT_TESTS_NEED_SLURM`` is set."""
    reason = missing()
    if reason is not None:
        refuse = pytest.fail if os.environ.get("HINDSIGHT_TESTS_NEED_SLURM") else pytest.skip
        refuse(f"no Slurm here: {reason}")


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """A cluster with one node; its jobs and daemons are gone at the end."""
    for last in (False, False, True):
        with contextlib.ExitStack() as stack:
            try:
                cluster = _started(stack)
            except _PortTaken:
                if last:
                    raise
                continue
            stack.callback(_end_jobs, cluster)
            yield cluster
            return


class _PortTaken(Exception):
    """A daemon ended at once: somebody else was faster to listen on its port."""


def _started(stack: contextlib.ExitStack) -> Cluster:
    folder = Path(tempfile.mkdtemp(prefix="hindsight-slurm-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)  # munged wants a socket that everybody can reach
    daemons: dict[str, subprocess.Popen[bytes]] = {}
    cluster = Cluster(folder, daemons)
    stack.callback(_stop_all, daemons)
    _configure(folder)
    _start_munge(folder, daemons)
    daemons["slurmctld"] = _start(folder, ["slurmctld", "-D", "-c"], {"SLURM_CONF": cluster.configuration})
    daemons["slurmd"] = _start_node(cluster)

    def is_up_or_gone() -> bool:
        gone = any(daemon.poll() is not None for daemon in daemons.values())
        return gone or cluster.command("sinfo", "-h", "-o", "%T", check=False) == "idle"

    wait_until(is_up_or_gone, cluster.log)
    if any(daemon.poll() is not None for daemon in daemons.values()):
        raise _PortTaken(cluster.log())
    return cluster


def _configure(folder: Path) -> None:
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o755)
    text = CONFIGURATION.format(
        host=platform.node().partition(".")[0],
        folder=folder,
        controller_port=free_port(),
        node_port=free_port(),
        cpus=max(CPUS, os.cpu_count() or 1),
    )
    (folder / "slurm.conf").write_text(text)


def _start_munge(folder: Path, daemons: dict[str, subprocess.Popen[bytes]]) -> None:
    home = folder / "munge"
    key, socket = home / "key", home / "socket"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    own = [f"--{name}={home / name}" for name in ("socket", "pid-file", "seed-file")]
    command = ["munged", "--foreground", f"--key-file={key}", *own, "--num-threads=2"]
    daemons["munged"] = _start(folder, command, {})
    wait_until(socket.exists, lambda: (folder / "munged.log").read_text())


def _start(folder: Path, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    with (folder / f"{command[0]}.log").open("ab") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],  # also when the tests are killed
            env={**os.environ, **environment, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _start_node(cluster: Cluster) -> subprocess.Popen[bytes]:
    command = ["slurmd", "-D", "-c", "-N", platform.node().partition(".")[0]]
    return _start(cluster.folder, command, {"SLURM_CONF": cluster.configuration})


def _of_jobs(cluster: Cluster) -> set[int]:
    """The processes of all jobs, and Slurm's own that watch over them."""
    found = set[int]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            own = process.environ()
            if own.get("SLURM_CONF") == cluster.configuration and "SLURM_JOB_ID" in own:
                found |= {process.pid, *(each.pid for each in process.parents() if each.name() == "slurmstepd")}
    return found


def _stop_all(daemons: dict[str, subprocess.Popen[bytes]]) -> None:
    for process in reversed(daemons.values()):
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_jobs(cluster: Cluster) -> None:
    """Cancel everything, and wait until the node is empty. Slurm itself leaves a process that ignores its signals."""
    cluster.command("scancel", "--user=root", check=False)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not cluster.command("squeue", "-h", "-t", "R,CG", check=False), cluster.log, patience_s=30)
    _kill_jobs(cluster)


def _kill_jobs(cluster: Cluster) -> None:
    for process in _of_jobs(cluster):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def wait_until(condition: Callable[[], Any], otherwise: Callable[[], str], *, patience_s: float = PATIENCE_S) -> Any:
    """What the condition gives once it is true; a failure with more about it when it stays false."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {patience_s:g} s in vain\n{otherwise()}")
