"""The replay flow as a served deployment: on a schedule, for an executor, and while the server is started anew."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running
from tracker.decorators import prefect_executor
from tracker.decorators.prefect_blocks import HindsightStore
from tracker.decorators.prefect_executor import _FlowRun
from tracker.decorators.prefect_flows import hindsight_replay

import tracker
from tests import servers
from tests.prefect.conftest import PATIENCE_S, Flows, PrefectServer, clean, wait_for
from tests.prefect.test_replay import TASKS, with_probes
from tests.replay import executor_contract as contract
from tests.replay.programs import make_project, program, truth
from tests.servers import free_port
from tracker.errors import BadSetting, HindsightError, Unavailable
from tracker.replay import executors
from tracker.replay.documents import Plan, Question
from tracker.store.base import Store
from tracker.store.open import open_store

pytestmark = [
    pytest.mark.timeout(900),  # runners and servers are started, also where others work on the same machine
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

EMPTY = Plan(replay="0" * 26, created=0.0, question=Question(names=("x",)), workers=1)
SERVE = """
import sys
from tracker.decorators.prefect_flows import serve_hindsight_replay
if __name__ == "__main__":
    name, repository, block = sys.argv[1:]
    serve_hindsight_replay(repository, name=name, cron="0 6 * * *", block=block or None, workers=2)
"""


@contextmanager
def served(folder: Path, server: PrefectServer, repository: Path, *, block: str = "", **more: str) -> Iterator[str]:
    """The name of a deployment, while a process of its own serves it."""
    folder.mkdir()
    (folder / "serve.py").write_text(SERVE)
    own = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_RUNNER_SERVER_ENABLE": "false", **more}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "serve.py", folder.parent.name, str(repository), block],
            cwd=folder, env=clean() | server.environment() | own,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    name = f"hindsight_replay/{folder.parent.name}"
    try:
        wait_for(lambda: "is being served" in (folder / "log").read_text() or process.poll(), "nothing is served")
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        yield name
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


@pytest.fixture
def block(moto_server: servers.Server, bucket: str, tmp_path: Path, server: PrefectServer) -> HindsightStore:
    """A store on S3 that only the block knows how to reach."""
    block = HindsightStore(url=f"s3://{bucket}/{tmp_path.name}", storage_options=moto_server.options())
    block.save(tmp_path.name.replace("_", "-").lower())
    return block


def test_prefect_finds_the_block_by_itself() -> None:
    """By the entry point, as its pages and its command line look for blocks."""
    from prefect.plugins import load_prefect_collections

    assert load_prefect_collections()["hindsight"].HindsightStore is HindsightStore


def test_the_schedule_asks_runs_in_the_store_of_a_block(flows: Flows, block: HindsightStore, monkeypatch: Any) -> None:
    """Recorded and asked without any other setting; the credentials are in no parameter and in no object."""
    name = str(block._block_document_name)
    own = {"HINDSIGHT_PREFECT_BLOCK": name, "HINDSIGHT_STORE": "", "HINDSIGHT_SPOOL": str(flows.folder / "spool")}
    flows.write(TASKS)
    flows.run(**own)
    with_probes(flows, ("weight += ", 'tracker.log("rate", lr + weight)'))

    with served(flows.folder / "worker", flows.server, flows.repo.folder, block=name) as deployment:
        parameters = run_once(deployment)
        assert asked(block, "rate") == {"exact"}

        with_probes(flows, ("weight += ", 'tracker.log("third", weight / 3)'))
        monkeypatch.setenv("HINDSIGHT_PREFECT_DEPLOYMENT", deployment)
        told = tracker.replay("third", root=flows.repo.folder, executor="prefect", **block.settings())

    assert not told.waiting
    assert asked(block, "third") == {"exact"}
    assert parameters["block"] == name
    assert servers.SECRET not in str(parameters)
    assert secrets_in(block.open(), servers.SECRET) == []


def run_once(deployment: str) -> dict[str, Any]:
    """Let the runner execute the deployment now; the parameters of the flow run."""
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        assert [each.schedule.cron for each in found.schedules] == ["0 6 * * *"]
        run = client.create_flow_run_from_deployment(found.id)
        state = wait_for(lambda: (it := client.read_flow_run(run.id).state) and it.is_final() and it, "it never ends")
        assert state.is_completed(), state
        return dict(client.read_flow_run(run.id).parameters)


def asked(block: HindsightStore, name: str) -> set[str]:
    """The fidelities of the answers to a name."""
    frame = tracker.dataframe(name, "fidelity", **block.settings())
    return set(frame.dropna(subset=[name])["fidelity"])


def secrets_in(store: Store, secret: str) -> list[str]:
    """The keys whose objects hold a text."""
    return [info.key for info in store.list() if secret.encode() in store.get(info.key)]


def test_a_deployment_that_is_not_there_is_told(server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the variable says, and what it should say."""
    monkeypatch.setenv(prefect_executor.DEPLOYMENT_VARIABLE, "hindsight_replay/nowhere")

    with pytest.raises(BadSetting, match="'hindsight_replay/nowhere': expected"):
        prefect_executor.execute_on_prefect(open_store("memory://nowhere"), EMPTY, [0], on_result=print)


def test_a_flow_run_whose_process_is_gone_is_left(server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says for ever that it runs: after a while nobody follows it, and who asks again gets another. One that nobody
    executes is told, and one that somebody has deleted is over.
    """
    name = f"gone-{uuid4().hex}"
    hindsight_replay.to_deployment(name=name).apply()
    with get_client(sync_client=True) as client:

        def ask() -> _FlowRun:
            return _FlowRun(client, f"hindsight_replay/{name}", open_store("memory://gone"), EMPTY)

        first = ask()
        with monkeypatch.context() as patched:
            patched.setattr(prefect_executor, "_WAITED_S", 0.0)
            with pytest.warns(UserWarning, match=f"{first.id} is (Scheduled|Late) .* serve hindsight_replay/{name}"):
                assert not first.is_over()
        client.set_flow_run_state(first.id, Running(), force=True)
        assert not first.is_over()
        monkeypatch.setattr(executors, "_LEAST_PATIENCE_S", 0.0)
        assert first.is_over()
        assert "no sign of life" in first.lost("0")
        second = ask()
        client.delete_flow_run(second.id)

        assert second.id != first.id
        assert second.is_over()


@pytest.mark.parametrize("deployment", ["hindsight_replay/any", ""])
def test_a_server_that_does_not_answer_is_told(deployment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As something that may come back."""
    monkeypatch.setenv(prefect_executor.DEPLOYMENT_VARIABLE, deployment)

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}), pytest.raises(Unavailable):
        prefect_executor.execute_on_prefect(open_store("memory://any"), EMPTY, [0], on_result=print)


class Refusing(BaseHTTPRequestHandler):
    """A server that does not know who asks."""

    def do_GET(self) -> None:
        self.send_error(401)

    def do_POST(self) -> None:
        self.send_error(401)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("deployment", ["hindsight_replay/any", ""])
def test_a_server_that_refuses_is_told(deployment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its answer, and as something that waiting does not mend."""
    monkeypatch.setenv(prefect_executor.DEPLOYMENT_VARIABLE, deployment)
    answering = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=answering.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{answering.server_port}/api"
    try:
        with (
            temporary_settings({PREFECT_API_URL: address}),
            pytest.raises(HindsightError, match=r"refuses.* 401") as told,
        ):
            prefect_executor.execute_on_prefect(open_store("memory://any"), EMPTY, [0], on_result=print)
    finally:
        answering.shutdown()
        answering.server_close()
    assert not isinstance(told.value, Unavailable)


def test_a_server_that_is_started_anew_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while slices are executed: they go on, and whoever asked gets all answers."""
    project = make_project(tmp_path)
    project.commit(program(contract.TRAIN))
    for seed in contract.SEEDS:
        project.record(f"seed={seed}")
    contract.shut(project)
    monkeypatch.setenv("PYTEST_TRUTH", str(tmp_path))
    source = program(contract.TRAIN, inner=contract.PROBE)
    wanted = sorted(row for seed in contract.SEEDS for row in truth(source, "probe", "epoch", "step", seed=seed))
    server = PrefectServer(tmp_path / "home")
    server.start()
    try:
        with served(tmp_path / "worker", server, project.folder) as deployment:
            own = {"HINDSIGHT_PREFECT_DEPLOYMENT": deployment}
            command = [sys.executable, "-m", "tracker", "replay", "probe", "--yes", "--executor", "prefect"]
            process = subprocess.Popen(
                [*command, "--workers", "2", "--store", str(project.url)],
                cwd=project.folder, env=clean() | server.environment() | own,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            wait_for(lambda: contract.programs(project) or process.poll() is not None, "no slice is executed")
            server.stop(signal.SIGKILL)
            server.start()
            contract.gate_of(project).unlink()
            output, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        server.stop(signal.SIGKILL)

    assert process.returncode == 0, output
    assert project.values("probe", "epoch", "step") == wanted
