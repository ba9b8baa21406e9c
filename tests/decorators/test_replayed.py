"""Runs that an engine started by calling a function: past ones are called again, from the store alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tracker
from tests.code.conftest import Repo

PIPELINE = """
import random
from dataclasses import dataclass

import numpy as np
import tracker
from tracker.decorators import tracked

@dataclass
class Config:
    decay: float
    layers: list

def build(scale):
    @tracked
    def train(lr, data, config, *extra, epochs=4, token=None, **more):
        weight = np.zeros(2)
        with tracker.checkpointing(config=config):
            for epoch in tracker.loop("epoch", range(epochs)):
                for step in tracker.loop("step", range(3)):
                    weight = weight + scale * lr * np.random.normal(size=2) + data["x"].mean() + random.random()
                    weight *= config.decay ** len(config.layers)
                norm = float((weight ** 2).sum())
                tracker.log("loss", norm / (epoch + 1) + sum(extra) + more["offset"])
        return norm
    return train

train = build(2.0)

class Job:
    def __init__(self, rate):
        self.rate = rate

    @tracked
    async def run(self, count):
        for i in tracker.loop("i", range(count)):
            tracker.log("x", i * self.rate + random.random())
"""
ENGINE = """
import asyncio, sys
import pandas as pd
import pipeline
what, = sys.argv[1:]
if what == "train":
    config = pipeline.Config(0.9, [1, 2])
    pipeline.train(0.5, pd.DataFrame({"x": [1.0, 2.0]}), config, 3, 4, token=None, offset=0.25)
elif what == "secret":
    pipeline.train(0.5, pd.DataFrame({"x": [1.0, 2.0]}), pipeline.Config(0.9, []), token="hunter2", offset=0.25)
else:
    asyncio.run(pipeline.Job(2.5).run(4))
"""


class Engine:
    """A project, and a program elsewhere that calls its functions."""

    def __init__(self, folder: Path) -> None:
        self.repo = Repo(folder / "project", commit=False)
        self.repo.write("pipeline.py", PIPELINE)
        self.repo.commit("first")
        self.store = folder / "store"
        self.elsewhere = folder / "engine"
        self.elsewhere.mkdir()
        (self.elsewhere / "engine.py").write_text(textwrap.dedent(ENGINE))

    def call(self, what: str) -> None:
        """Run the engine once."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("HINDSIGHT_")}
        own = {"HINDSIGHT_STORE": str(self.store), "HINDSIGHT_CHECKPOINTS": "all", "PYTHONPATH": str(self.repo.folder)}
        subprocess.run([sys.executable, "engine.py", what], cwd=self.elsewhere, env=kept | own, check=True, timeout=120)

    def probe(self, after: str, line: str) -> None:
        """Put a line behind the one that contains a text, as its user would today."""
        path = self.repo.folder / "pipeline.py"
        old = next(each for each in path.read_text().splitlines() if after in each)
        indent = old[: len(old) - len(old.lstrip())]
        path.write_text(path.read_text().replace(old, f"{old}\n{indent}{line}"))

    def files(self) -> list[Path]:
        """What lies in the project's folder, without git's own and caches."""
        found = self.repo.folder.rglob("*")
        return sorted(path for path in found if not {".git", "__pycache__"} & set(path.parts))

    def ask(self, name: str, **question: object) -> tracker.replay.asking.Replay:  # type: ignore[name-defined]
        """Ask all runs for a name."""
        return tracker.replay(name, store=str(self.store), root=self.repo.folder, workers=2, **question)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def test_a_function_inside_of_a_function_is_called_again_with_its_arguments(engine: Engine) -> None:
    """A data frame, an instance of a class, variadic arguments, and generators that nobody seeded."""
    engine.call("train")
    engine.probe("norm = float", 'tracker.log("largest", float(weight.max()))')

    found = engine.ask("largest")

    (run,) = found.plan.runs
    assert found.state(run) == "exact", found.results
    frame = tracker.dataframe("epoch", "loss", "largest", store=str(engine.store))
    assert len(frame) == 4
    assert (frame["largest"] ** 2 < frame["loss"] * (frame["epoch"] + 1)).all()


def test_a_coroutine_of_a_class_is_called_again(engine: Engine) -> None:
    """The object it belongs to is restored like any other argument."""
    engine.call("job")
    engine.probe('tracker.log("x"', 'tracker.log("twice", 2 * i)')

    found = engine.ask("twice")

    (run,) = found.plan.runs
    assert found.state(run) == "exact", found.results
    assert tracker.dataframe("twice", store=str(engine.store))["twice"].tolist() == [0, 2, 4, 6]


def test_a_secret_argument_must_be_given_again(engine: Engine) -> None:
    """It was not recorded; with a value for it the run is called again."""
    engine.call("secret")
    engine.probe("norm = float", 'tracker.log("largest", float(weight.max()))')

    found = engine.ask("largest")
    (run,) = found.plan.runs
    assert found.state(run) == "failed"
    assert "token holds a secret" in found.results[0].reason
    assert "--override" in found.results[0].reason

    again = engine.ask("largest", overrides={"token": "another"})
    assert again.state(again.plan.runs[0]) in ("exact", "unverified")


def test_the_users_project_is_left_alone(engine: Engine) -> None:
    """Calling the function again happens in a copy of its project."""
    engine.call("train")
    engine.probe("norm = float", 'tracker.log("largest", float(weight.max()))')
    before = engine.files()

    engine.ask("largest")

    assert engine.files() == before
