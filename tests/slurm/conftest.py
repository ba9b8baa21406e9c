"""A Slurm for the session, and a project whose functions are submitted to it."""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tracker
from tests.code.conftest import Repo
from tests.slurm.cluster import Cluster, require, running, wait_until
from tracker.read.catalog import RunView, scan
from tracker.store.open import open_store


class _LeftOut(pytest.Module):
    """A file of tests that cannot even be imported."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        pytest.skip("submitit is not installed; make test-slurm has an environment with it", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Without submitit, say why these tests are skipped."""
    found = importlib.util.find_spec("submitit") is not None
    return None if found else _LeftOut.from_parent(parent, path=module_path)


TRAINING = """
import json, os, time
from pathlib import Path
import tracker
from tracker.decorators import tracked

def train(lr, epochs=3):
    for epoch in tracker.loop("epoch", range(epochs)):
        tracker.log("loss", lr / (epoch + 1))
    return lr

@tracked
def decorated(lr):
    return train(lr)

def fail(reason):
    tracker.log("before", 1)
    raise ValueError(reason)

def steps(folder, epochs=4, resume=True):
    # What it executed stands in files; in epoch 2 it waits while there is a file `hold`.
    weight = [0.0]
    with tracker.checkpointing(resume=resume, weight=weight):
        for epoch in tracker.loop("epoch", range(epochs)):
            for step in tracker.loop("step", range(2)):
                weight[0] += 1.5 ** epoch
            tracker.log("weight", weight[0])
            with open(os.path.join(folder, "executed"), "a") as file:
                file.write(f"{epoch}\\n")
            while epoch == 2 and os.path.exists(os.path.join(folder, "hold")):
                time.sleep(0.05)
    return weight[0]

class Training:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epochs):
        for epoch in tracker.loop("epoch", range(epochs)):
            tracker.log("loss", self.rate * epoch)
            time.sleep(0.01 if epochs > 100 else 0)
        return self.rate

    def checkpoint(self, epochs):
        from submitit.helpers import DelayedSubmission
        return DelayedSubmission(Training(self.rate * 2), epochs)

def ranked():
    rank = int(os.environ.get("SLURM_PROCID") or os.environ["SUBMITIT_LOCAL_GLOBALID"])
    for step in tracker.loop("step", range(3)):
        tracker.log("seen", 10 * rank + step, rank=rank)
    return rank
"""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real Slurm; the tests are skipped where it cannot be started."""
    require()
    with running() as found:
        yield found


@dataclass
class Project:
    """A repository with a module ``training``, and a store beside it."""

    folder: Path
    url: Path
    training: Any

    @property
    def jobs(self) -> Path:
        """A folder for submitit's files."""
        return self.url.parent / "jobs"

    def runs(self) -> list[RunView]:
        """All runs, oldest first."""
        return scan(open_store(self.url, create=False)) if (self.url / "format.json").exists() else []

    def values(self, *names: str) -> list[list[Any]]:
        """The rows of the frame of these names that have all of them."""
        found: list[list[Any]] = tracker.dataframe(*names, store=self.url)[list(names)].dropna().values.tolist()
        return found

    def hold(self) -> None:
        """Let ``steps`` wait in its epoch 2."""
        (self.url.parent / "hold").touch()

    def release(self) -> None:
        """Let it go on."""
        (self.url.parent / "hold").unlink()

    def wait_until_held(self) -> None:
        """Return when ``steps`` waits, and what it logged and checkpointed so far is in the store."""
        executed = self.url.parent / "executed"
        wait_until(lambda: executed.exists() and "2" in executed.read_text(), self.told)
        wait_until(lambda: list(self.url.glob("runs/*/checkpoints/*/*")), self.told)

    def executed(self) -> list[int]:
        """The epochs that ``steps`` has executed, in every try."""
        return [int(line) for line in (self.url.parent / "executed").read_text().split()]

    def told(self) -> str:
        """What the jobs wrote."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.jobs.glob("*_log.*")))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The working directory is the project, so that jobs import its module from there."""
    repo = Repo(tmp_path / "project", commit=False)
    repo.write("training.py", textwrap.dedent(TRAINING))
    repo.write(".gitignore", "__pycache__/\n")
    repo.commit("first")
    monkeypatch.chdir(repo.folder)
    monkeypatch.syspath_prepend(str(repo.folder))
    monkeypatch.setenv("HINDSIGHT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HINDSIGHT_CHECKPOINTS", "all")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    spec = importlib.util.spec_from_file_location("training", repo.folder / "training.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["training"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield Project(repo.folder, tmp_path / "store", module)
    (tmp_path / "hold").unlink(missing_ok=True)
    del sys.modules["training"]


@pytest.fixture
def slurm(cluster: Cluster, project: Project, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, with commands and jobs of this process led to it."""
    monkeypatch.setenv("SLURM_CONF", cluster.configuration)
    return cluster
