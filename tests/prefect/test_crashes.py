"""Flow runs that are killed, cancelled or told to end, executed by a real runner: what is told of their runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling
from tracker.decorators.prefect_blocks import HindsightStore

import tracker
from tests import servers
from tests.prefect.conftest import PATIENCE_S, Flows, wait_for
from tracker.read.catalog import RunView, scan
from tracker.store.base import Store
from tracker.store.open import open_store

pytestmark = [
    pytest.mark.timeout(900),  # runners and servers are started, also where others work on the same machine
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CODE = """
import os, sys, time
from pathlib import Path
from prefect import flow, task
from prefect.deployments import run_deployment
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import flow_run
import tracker
from tracker.decorators import tracked

@tracked
@task
def fit(mark):
    for step in tracker.loop("step", range(10**6)):
        tracker.log("loss", 1 / (step + 1))
        if step == 100:
            Path(mark).write_text(str(os.getpid()))
        if step > 100:
            time.sleep(0.05)

@tracked
@flow
def train(mark):
    fit(mark)

@tracked
@flow
def pausing(mark):
    Path(mark).write_text(str(flow_run.id))
    tracker.log("try", flow_run.run_count)
    if flow_run.parent_flow_run_id is None:  # Prefect suspends no other
        suspend_flow_run(timeout=600, key="once")

@tracked
@flow
def outer(name, mark):
    run_deployment(f"pausing/{name}", parameters={"mark": mark}, poll_interval=1)

if __name__ == "__main__":
    if sys.argv[1] == "serve":
        served = pausing if sys.argv[2].startswith("test_a_suspended") else train
        served.serve(name=sys.argv[2])
    elif sys.argv[1] == "outer":
        outer(*sys.argv[2:])
    else:
        train(sys.argv[1])
"""


class Runner:
    """A process that serves the flow."""

    def __init__(self, flows: Flows, **more: str) -> None:
        self.flows, self.mark, self.name = flows, flows.folder / "mark", flows.folder.name
        own = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_RUNNER_SERVER_ENABLE": "false", **more}
        self.log = flows.folder / "runner.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "flows.py", "serve", self.name],
                cwd=flows.repo.folder, env=flows.environment(**own),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def begin(self) -> tuple[UUID, psutil.Process]:
        """A flow run that has logged more than a hundred steps, and its process."""
        with get_client(sync_client=True) as client:
            deployment = wait_for(lambda: self.deployment(client), "the flow is not served")
            run = client.create_flow_run_from_deployment(deployment.id, parameters={"mark": str(self.mark)})
        pid = wait_for(
            lambda: self.mark.exists() and self.mark.read_text(), f"no flow runs: {self.log.read_text()[-3000:]}"
        )
        return run.id, psutil.Process(int(pid))

    def deployment(self, client: SyncPrefectClient) -> Any:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        found = client.read_deployments()
        return next((each for each in found if each.name == self.name), None)

    def stop(self) -> None:
        for process in [*psutil.Process(self.process.pid).children(recursive=True)]:
            process.kill()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def runner(flows: Flows) -> Iterator[Runner]:
    flows.write(CODE)
    runner = Runner(flows)
    yield runner
    runner.stop()


def state_of(flow_run: UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run)


def until(flow_run: UUID, state: str) -> None:
    """Wait for a state of a flow run."""
    wait_for(lambda: state_of(flow_run).state_name == state, f"the flow run never was {state}: {state_of(flow_run)}")


def ended(store: Store) -> list[RunView]:
    """The runs, once no end of them is missing."""

    def found() -> list[RunView]:
        runs = scan(store)
        return runs if all(attempt.end is not None for run in runs for attempt in run.attempts) else []

    return wait_for(found, f"some runs have no end: {scan(store)}")


def test_a_flow_run_that_is_killed_is_told_as_killed(flows: Flows, runner: Runner) -> None:
    """By SIGKILL; nothing that was logged is lost, and the runner's hook writes the ends."""
    flow_run, process = runner.begin()

    process.kill()
    until(flow_run, "Crashed")

    runs = ended(open_store(flows.store))
    assert [(run.status, run.parent is None) for run in runs] == [("killed", True), ("killed", False)]
    assert len(tracker.dataframe("loss", store=str(flows.store))) > 100


def test_a_cancelled_flow_run_is_told_as_killed(flows: Flows, runner: Runner) -> None:
    """Prefect ends its process; flow and task end their runs themselves."""
    flow_run, _ = runner.begin()

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run, Cancelling())
    until(flow_run, "Cancelled")

    assert [run.status for run in ended(open_store(flows.store))] == ["killed", "killed"]


def test_a_terminated_process_ends_its_runs(flows: Flows) -> None:
    """SIGTERM to a flow that was started as a script."""
    flows.write(CODE)
    mark = flows.folder / "mark"
    process = flows.start(str(mark))
    wait_for(lambda: mark.exists() or process.poll() is not None, "the flow does not run")

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode != 0, output
    assert [run.status for run in ended(open_store(flows.store))] == ["killed", "killed"]


def test_a_suspended_flow_run_goes_on_as_the_same_run(flows: Flows, runner: Runner) -> None:
    """In another process, as a further attempt. One that a flow starts by its deployment is that flow's child."""
    with get_client(sync_client=True) as client:
        deployment = wait_for(lambda: runner.deployment(client), "the flow is not served")
        flows.run("outer", runner.name, str(runner.mark))
        flow_run = client.create_flow_run_from_deployment(deployment.id, parameters={"mark": str(runner.mark)}).id
        until(flow_run, "Suspended")
        wait_for(lambda: flows.runs()[-1].status == "preempted", "its first attempt has no end")
        client.resume_flow_run(flow_run)
    until(flow_run, "Completed")

    outer, child, suspended = ended(open_store(flows.store))
    assert (outer.parent, child.parent, suspended.parent) == (None, outer.run, None)
    assert [attempt.status for attempt in suspended.attempts] == ["preempted", "finished"]


@pytest.mark.s3
@pytest.mark.parametrize("is_block", [False, True], ids=["environment", "block"])
def test_the_runner_ships_what_a_killed_flow_left(
    flows: Flows, moto_server: servers.Server, bucket: str, is_block: bool
) -> None:
    """To a remote store, from the spool, without any further run on this machine; also where a block alone knows the
    store.
    """
    flows.write(CODE)
    url = f"s3://{bucket}/{flows.folder.name}"
    more = {"HINDSIGHT_SPOOL": str(flows.folder / "spool"), "HINDSIGHT_FLUSH_INTERVAL_S": "1000"}
    if is_block:
        name = "crashes-" + uuid4().hex
        HindsightStore(url=url, storage_options=moto_server.options()).save(name)
        more |= {"HINDSIGHT_STORE": "", "HINDSIGHT_PREFECT_BLOCK": name}
    else:
        more |= {"HINDSIGHT_STORE": url, **moto_server.environment()}
    runner = Runner(flows, **more)
    try:
        flow_run, process = runner.begin()
        process.kill()
        until(flow_run, "Crashed")
        runs = ended(open_store(url, storage_options=moto_server.options()))
    finally:
        runner.stop()

    assert [run.status for run in runs] == ["killed", "killed"]
    frame = tracker.dataframe("step", "loss", store=url, storage_options=moto_server.options())
    assert frame["step"].tolist() == list(range(len(frame)))
    assert len(frame) > 100
