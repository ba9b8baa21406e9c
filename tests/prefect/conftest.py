"""One real Prefect server for the session, and flows that are executed on it, here and in processes of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.code.conftest import Repo
from tests.decorators.conftest import store as store
from tests.servers import free_port
from tracker.read.catalog import RunView, scan
from tracker.store.open import open_store

PATIENCE_S = 240.0
IS_INSTALLED = importlib.util.find_spec("prefect") is not None
collect_ignore_glob = [] if IS_INSTALLED else ["test_[!i]*.py"]  # test_installed.py says why


class PrefectServer:
    """A server on a free port, in a process group of its own, whose database outlives a restart."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def environment(self) -> dict[str, str]:
        """What leads a process to this server, and keeps it away from everything of the user's."""
        return {
            "PREFECT_HOME": str(self.home),
            "PREFECT_PROFILES_PATH": str(self.home / "profiles.toml"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_CLI_PROMPT": "false",
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
        }

    def start(self) -> None:
        self.home.mkdir(mode=0o700, exist_ok=True)
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.home / "server.log").open("ab") as log:
            own = {name: text for name, text in self.environment().items() if name != "PREFECT_API_URL"}
            self.process = subprocess.Popen(
                command, env=clean() | own, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self._answers, f"no Prefect server: {(self.home / 'server.log').read_text()[-2000:]}")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "server.log").read_text()[-3000:]
        try:
            urllib.request.urlopen(f"{self.url}/health", timeout=10).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the whole process group; with SIGKILL where it does not go."""
        if self.process is None:
            return
        for each in (how, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, each)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process = None


SERVER = PrefectServer(Path(tempfile.gettempdir()) / f"hindsight-prefect-{secrets.token_hex(8)}")
if IS_INSTALLED:
    # Prefect's threads know the settings that were there when it was imported, and start a server of their own without.
    os.environ.update(SERVER.environment())


@pytest.fixture(scope="session")
def server() -> Iterator[PrefectServer]:
    """The server of the session; this process talks to it, and so do those that it starts."""
    try:
        SERVER.start()
        yield SERVER
    finally:
        _drain()
        SERVER.stop()
        shutil.rmtree(SERVER.home, ignore_errors=True)


def _drain() -> None:
    """Let Prefect's threads in this process send what they have, which they would try for long at its exit."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=30)


class Flows:
    """A project with a file of flows, a store, and processes that execute them."""

    def __init__(self, folder: Path, server: PrefectServer) -> None:
        self.folder, self.server = folder, server
        self.repo = Repo(folder / "project", commit=False)
        self.store = folder / "store"

    def write(self, code: str, name: str = "flows.py") -> None:
        self.repo.write(name, code)
        self.repo.write(".gitignore", "__pycache__/\n")
        self.repo.commit("a version")

    def environment(self, **more: str) -> dict[str, str]:
        own = {
            "HINDSIGHT_STORE": str(self.store),
            "HINDSIGHT_CAPTURE": "code",
            "HINDSIGHT_CHECKPOINTS": "all",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return clean() | self.server.environment() | own | more

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start ``flows.py`` as its user would."""
        return subprocess.Popen(
            [sys.executable, "flows.py", *arguments],
            cwd=self.repo.folder, env=self.environment(**more), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0, **more: str) -> str:
        """Run ``flows.py`` to its end; what it said."""
        process = self.start(*arguments, **more)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code, output
        return output

    def runs(self) -> list[RunView]:
        return runs_of(str(self.store)) if self.store.exists() else []


@pytest.fixture
def flows(tmp_path: Path, server: PrefectServer) -> Flows:
    """A project without a file yet."""
    return Flows(tmp_path, server)


def clean() -> dict[str, str]:
    """The environment without settings of ours or of Prefect's."""
    return {name: text for name, text in os.environ.items() if not name.startswith(("HINDSIGHT_", "PREFECT_"))}


def runs_of(store: str) -> list[RunView]:
    """The runs of a store, oldest first."""
    return scan(open_store(store, create=False))


def wait_for(condition: Callable[[], Any], otherwise: str) -> Any:
    """What the condition gives once it is true; a failure when it does not become true in time."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(otherwise)
