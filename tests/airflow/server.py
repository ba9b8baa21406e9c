"""A running Airflow: ``airflow standalone`` with its scheduler, processor, triggerer and API server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.servers import free_port

PATIENCE_S = 600.0  # nothing is waited for without a need; a machine may be loaded
DONE = ("success", "failed", "skipped", "upstream_failed", "removed")


class Airflow:
    """Its API, and its processes."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home, self.dags = home, home / "dags"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.environment = environment | {
            "AIRFLOW_HOME": str(home),
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": self.url.rpartition(":")[2],
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "2",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",  # of a loaded machine
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start all processes and wait until they are healthy."""
        self.dags.mkdir(parents=True, exist_ok=True)
        with (self.home / "standalone.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                env=self.environment,
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait(lambda: self.is_healthy() or self.process.poll() is not None, "Airflow does not start")

    def stop(self, kind: signal.Signals = signal.SIGTERM) -> None:
        """Stop the processes of its group; what a signal leaves is killed."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def is_healthy(self) -> bool:
        """Whether every part answers."""
        try:
            parts = self.ask("GET", "/api/v2/monitor/health", login=False)
        except OSError:
            return False
        return all(part["status"] == "healthy" for part in parts.values() if part.get("status"))

    def ask(self, method: str, path: str, body: Any = None, *, login: bool = True) -> Any:
        """One request; ``HTTPError`` (an ``OSError``) where it is refused. SQLite may be locked: then once more."""
        for _ in range(20):
            try:
                return self._ask(method, path, body, login=login)
            except urllib.error.HTTPError as exc:
                if exc.code < 500:
                    raise
                exc.close()
                time.sleep(0.5)
        return self._ask(method, path, body, login=login)

    def _ask(self, method: str, path: str, body: Any, *, login: bool) -> Any:
        headers = {"Content-Type": "application/json"}
        if login:
            headers["Authorization"] = f"Bearer {self.token()}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def token(self) -> str:
        """A token of an admin."""
        return str(self.ask("GET", "/auth/token", login=False)["access_token"])

    def add(self, name: str, text: str) -> None:
        """Put a DAG file into the folder."""
        (self.dags / name).write_text(text)

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run of a DAG as soon as it is known; the id of the run."""

        def tried() -> Any:
            try:
                return self.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})
            except urllib.error.HTTPError as exc:
                if exc.code == 404:
                    return None
                raise AssertionError(exc.read()) from exc

        return str(self.wait(tried, f"{dag_id} is not parsed")["dag_run_id"])

    def trigger_version(self, dag_id: str, text: str) -> str:
        """Start a run of a DAG once Airflow has parsed a file with this text."""

        def parsed() -> bool:
            try:
                return text in str(self.ask("GET", f"/api/v2/dagSources/{dag_id}")["content"])
            except urllib.error.HTTPError:
                return False

        self.wait(parsed, f"{dag_id} with {text!r} is not parsed")
        return self.trigger(dag_id)

    def known(self, dag_id: str) -> None:
        """Wait until Airflow has parsed a DAG."""

        def parsed() -> bool:
            try:
                return bool(self.ask("GET", f"/api/v2/dags/{dag_id}"))
            except urllib.error.HTTPError:
                return False

        self.wait(parsed, f"{dag_id} is not parsed")

    def import_errors(self) -> Any:
        """Why DAG files cannot be parsed."""
        return self.ask("GET", "/api/v2/importErrors")["import_errors"]

    def finished(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Wait for a run of a DAG: the states of its tasks, and its own under ``""``."""

        def state() -> Any:
            found = self.ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
            return found if found in ("success", "failed") else None

        ended = self.wait(state, f"{dag_id} {run_id} does not end")
        return {"": ended, **{name: str(each["state"]) for name, each in self.tasks(dag_id, run_id).items()}}

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """The task instances by ``task`` or ``task[index]``."""
        found = self.ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]
        return {
            each["task_id"] if each["map_index"] < 0 else f"{each['task_id']}[{each['map_index']}]": each
            for each in found
        }

    def xcom(self, dag_id: str, run_id: str, task: str, key: str = "return_value") -> Any:
        """What a task left."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task}/xcomEntries/{key}?deserialize=true"
        return self.ask("GET", path)["value"]

    def log(self, dag_id: str, run_id: str, task: str) -> str:
        """The logs of a task's tries, as files."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return "\n".join(path.read_text() for path in sorted(folder.rglob("*.log")) if f"task_id={task}" in str(path))

    def wait(self, condition: Callable[[], Any], otherwise: str, patience_s: float = PATIENCE_S) -> Any:
        """What the condition gives once it is true."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"{otherwise}\n{(self.home / 'standalone.log').read_text()[-4000:]}")


@contextlib.contextmanager
def running(home: Path, environment: dict[str, str]) -> Iterator[Airflow]:
    """Airflow for as long as the block lasts."""
    airflow = Airflow(home, environment)
    try:
        airflow.start()
        yield airflow
    finally:
        if airflow.process is not None:
            airflow.stop()
