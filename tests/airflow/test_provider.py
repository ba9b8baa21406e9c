"""What Airflow finds installed: the provider, the connection type, the ready-made DAG files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tracker
from tests import servers
from tests.airflow.flows import Flows

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[servers.Server]:
    """A real S3 server."""
    with servers.moto(tmp_path / "log") as server:
        yield server


def test_airflow_finds_the_provider(migrated: Path) -> None:
    """Connection type, decorator, link and settings."""
    from airflow.providers_manager import ProvidersManager

    found = ProvidersManager()

    assert "hindsight-tracker" in found.providers
    assert found.hooks["hindsight"] is not None
    assert "tracked" in found.taskflow_decorators
    assert "tracker.operators.links.RunLink" in found.extra_links_class_names
    assert "hindsight" in dict(found.provider_configs)["hindsight-tracker"]


def test_a_store_on_s3_with_the_keys_of_an_aws_connection(
    flows: Flows, s3: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Test button writes and reads; a task's run lands there; neither key nor secret does."""
    from tracker.operators import HindsightHook

    bucket = servers.new_bucket(s3)
    aws = {
        "conn_type": "aws",
        "login": servers.KEY,
        "password": servers.SECRET,
        "extra": {"endpoint_url": s3.endpoint, "region_name": "us-east-1"},
    }
    own = {"conn_type": "hindsight", "host": f"s3://{bucket}/store", "extra": {"aws_conn_id": "aws_default"}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(aws))
    monkeypatch.setenv("AIRFLOW_CONN_HINDSIGHT_DEFAULT", json.dumps(own))
    monkeypatch.delenv("HINDSIGHT_STORE")
    text = """
    from airflow.sdk import dag, task
    import tracker

    @task.tracked
    def train(lr):
        tracker.log("loss", lr)

    @dag(dag_id="pipeline")
    def build():
        train(0.5)

    flow = build()
    """
    ok, told = HindsightHook("hindsight_default").test_connection()
    assert ok, told

    assert flows.test(text) == {"train": "success"}

    url, options = HindsightHook().address
    assert url == f"s3://{bucket}/store"
    frame = tracker.dataframe("loss", store=url, storage_options=options)
    assert frame["loss"].tolist() == [0.5]
    store = HindsightHook().get_conn()
    assert not [info.key for info in store.list() if servers.SECRET.encode() in store.get(info.key)]


def test_a_connection_that_does_not_work_says_why(migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the page, and not as an exception."""
    from tracker.operators import HindsightHook

    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", json.dumps({"conn_type": "hindsight", "host": "/proc/nothing"}))

    ok, told = HindsightHook("nowhere").test_connection()

    assert not ok
    assert "/proc/nothing" in told


@pytest.mark.parametrize("name", ["compact_store.py", "hindsight_replay.py", "sync_store.py", "train_digits.py"])
def test_dag_files_are_parsed_without_heavy_imports(migrated: Path, name: str) -> None:
    """Airflow reads them every few seconds, in every process."""
    code = f"""
    import runpy, sys
    import airflow.providers.common.compat.sdk
    runpy.run_path({str(DAGS / name)!r})
    print(*sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())],
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = set(done.stdout.split())
    assert not loaded & {"pandas", "pyarrow", "sklearn", "torch", "tracker.replay.asking"}


def test_the_example_trains_and_is_asked(flows: Flows) -> None:
    """Three runs, one for each learning rate, each with its accuracies; one of them is asked for what it lacks."""
    text = (DAGS / "train_digits.py").read_text().replace("\ntrain_digits()", "\nflow = train_digits()")

    states = flows.test(text)

    assert set(states.values()) == {"success"}
    frame = flows.frame("lr", "epoch", "accuracy")
    assert sorted(set(frame["lr"])) == [0.003, 0.03, 0.3]
    assert len(frame) == 15
    assert frame["accuracy"].max() > 0.9

    old = 'tracker.log("accuracy", accuracy)\n'
    probe = old + " " * 12 + 'tracker.log("largest", float(model.coef_.max()))\n'
    flows.repo.write("pipeline.py", text.replace(old, probe))
    store = str(flows.store_folder)
    found = tracker.replay("largest", where="lr < 0.01", root=flows.repo.folder, store=store, workers=1)

    assert not found.waiting, found.results
    frame = flows.frame("lr", "largest", "fidelity").dropna(subset=["largest"])
    assert (set(frame["lr"]), set(frame["fidelity"]), len(frame)) == ({0.003}, {"exact"}, 5)
