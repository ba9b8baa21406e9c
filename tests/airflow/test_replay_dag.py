"""Hindsight as a DAG on a running scheduler: runs of three commits, a probe on the branch, exact answers."""

from __future__ import annotations

import shutil
import urllib.error
from pathlib import Path
from urllib.parse import quote

import tracker
from tests.airflow.server import Airflow
from tests.code.conftest import Repo
from tracker.read.catalog import scan
from tracker.store.open import open_store

TRAIN = """
from airflow.sdk import dag, task
from tracker.decorators import tracked
import numpy as np
import tracker

@dag(dag_id="training", schedule=None)
def training():
    @tracked
    @task
    def train(version, epochs=3):
        rng = np.random.default_rng(version)
        weight = np.zeros(3)
        with tracker.checkpointing(rng=rng):
            for epoch in tracker.loop("epoch", range(epochs)):
                for step in tracker.loop("step", range(4)):
                    weight = weight + RATE * rng.normal(size=3)
                tracker.log("loss", float((weight ** 2).sum()))
        return float(weight.sum())
    train(RATE)

training()
"""
LOSS = 'tracker.log("loss", float((weight ** 2).sum()))'
SHIPPED = Path(__file__).parents[2] / "dags" / "hindsight_replay.py"


def test_a_probe_on_the_branch_is_answered_for_all_versions(airflow: Airflow, tmp_path: Path) -> None:
    """Three commits of a repository with a DAG file; the repository moves away. The shipped DAG file is put into the
    folder, and Airflow starts it by itself: it answers for all versions, and its next run finds nothing new.
    """
    repo = Repo(airflow.dags / "training", commit=False)
    for version in (1, 2, 3):
        text = TRAIN.replace("RATE", str(version)) + f"# version {version}\n"
        repo.write("training.py", text)
        repo.commit(f"version {version}")
        before = len(list(scan(open_store(airflow.home / "store"))))
        states = airflow.finished("training", airflow.trigger_version("training", f"# version {version}"))
        assert states == {"": "success", "train": "success"}, airflow.log("training", "", "train")
        assert len(list(scan(open_store(airflow.home / "store")))) == before + 1
    store = str(airflow.home / "store")
    bare = tmp_path / "bare.git"
    repo.git("clone", "-q", "--bare", str(repo.folder), str(bare))
    writer = Repo.__new__(Repo)
    writer.folder = tmp_path / "clone"
    repo.git("clone", "-q", str(bare), str(writer.folder))
    shutil.rmtree(repo.folder)

    probe = LOSS + "\n" + " " * 16 + 'tracker.log("largest", float(weight.max()))'
    text = (writer.folder / "training.py").read_text()
    writer.write("training.py", text.replace(LOSS, probe))
    writer.commit("ask for the largest")
    writer.git("push", "-q", "origin", "HEAD")
    airflow.ask("POST", "/api/v2/variables", {"key": "hindsight_repository", "value": str(bare)})
    shipped = airflow.dags / "hindsight_replay.py"
    airflow.add(shipped.name, SHIPPED.read_text())
    try:
        scheduled = airflow.wait(lambda: scheduled_run(airflow), "Airflow does not start the shipped DAG")
        states = airflow.finished("hindsight_replay", scheduled)
        again = airflow.trigger("hindsight_replay")
        assert airflow.finished("hindsight_replay", again)["plan"] == "skipped"
    finally:
        shipped.unlink()  # else it is started again at the next full hour

    slices = [state for name, state in states.items() if name.startswith("slice")]
    assert len(slices) >= 3
    ends = {states[""], states["plan"], states["verify"], states["summary"], *slices}
    assert ends == {"success"}, airflow.log("hindsight_replay", scheduled, "s")
    frame = tracker.dataframe("version", "epoch", "loss", "largest", "fidelity", store=store)
    frame = frame[frame["version"].isin([1, 2, 3])]
    assert len(frame) == 9
    assert set(frame["fidelity"]) == {"exact"}
    assert frame["largest"].notna().all()
    assert (frame["largest"] ** 2 <= frame["loss"]).all()
    assert "3 exact" in airflow.xcom("hindsight_replay", scheduled, "summary", "summary")
    (event,) = airflow.ask("GET", f"/api/v2/assets/events?source_run_id={quote(scheduled)}")["asset_events"]
    assert event["uri"] == "hindsight://replays/hindsight_replay"
    assert event["extra"]["replay"] in airflow.xcom("hindsight_replay", scheduled, "summary", "summary")
    assert list(event["extra"]["states"].values()).count("exact") == 3


def scheduled_run(airflow: Airflow) -> str | None:
    """The latest run of the shipped DAG that nobody asked for."""
    try:
        listed = airflow.ask("GET", "/api/v2/dags/hindsight_replay/dagRuns?run_type=scheduled&order_by=-run_after")
    except urllib.error.HTTPError:
        return None
    return next((str(run["dag_run_id"]) for run in listed["dag_runs"]), None)
