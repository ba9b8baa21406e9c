"""A store that does not answer when a task starts: nothing is lost, and its tries stay attempts of one run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tracker
from tests import servers
from tests.s3.proxy import proxy_to
from tracker.checkpoint.invocations import load_arguments, read_invocation
from tracker.read.catalog import scan
from tracker.store.open import open_store

TASK = """
import sys
import numpy as np
from tracker.decorators import places, tracked
import tracker

class Engine:
    def current_place(self):
        return places.Place(engine="test", launch_key="test/task", attempt=sys.argv[1], details={"try": sys.argv[1]})
    def adapt(self, decorated, wrap):
        return None
    def status_of(self, exc):
        return None

places._ENGINES["sys"] = "here"
places._loaded.update({name: Engine() for name in places._ENGINES})

@tracked
def train(data, lr):
    tracker.log("mean", float(data.mean()) * lr)

train(np.arange(4.0), 0.5)
"""


@pytest.mark.s3
def test_a_task_that_starts_while_the_store_is_away_is_shipped_later(
    moto_server: servers.Server, bucket: str, tmp_path: Path
) -> None:
    """Records, arguments and code wait in the spool; the next try finds the run by its launch key."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "task.py").write_text(TASK)
    spool, url = str(tmp_path / "spool"), f"s3://{bucket}/{tmp_path.name}"

    def run_task(attempt: str, server: servers.Server) -> str:
        own = {"HINDSIGHT_STORE": url, "HINDSIGHT_SPOOL": spool, "HINDSIGHT_CAPTURE": "code"}
        kept = {name: text for name, text in os.environ.items() if not name.startswith("HINDSIGHT_")}
        done = subprocess.run(
            [sys.executable, "task.py", attempt], cwd=tmp_path / "project", env=kept | server.environment() | own,
            check=True, timeout=240, capture_output=True, text=True,
        )  # fmt: skip
        return done.stderr

    with proxy_to(moto_server.endpoint) as proxy:
        server = replace(moto_server, endpoint=proxy.endpoint)
        proxy.fail_from(0)
        assert "does not take records" in run_task("1", server)
        proxy.come_back()
        run_task("2", server)  # ships what the first try left
        run_task("3", server)

    store = open_store(url, storage_options=moto_server.options())
    (run,) = scan(store)
    tries = [attempt.start.orchestrator["try"] for attempt in run.attempts if attempt.start is not None]
    frame = tracker.dataframe("lr", "mean", "attempt", store=store, attempts="all")
    arguments = load_arguments(store, read_invocation(store, run.run, run.attempts[0].attempt))
    assert tries == ["1", "2", "3"]
    assert frame["mean"].tolist() == [0.75] * 3
    assert arguments["data"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert arguments["lr"] == 0.5
