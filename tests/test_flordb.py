"""The documented use of FlorDB, after ``import tracker as flor``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tracker as flor

TRAIN = """
import tracker as flor

class Net:
    def __init__(self):
        self.weight = 0.0

net, optimizer = Net(), {"momentum": 0.9}
epochs, trainloader = 2, [([1.0], 0), ([2.0], 1), ([3.0], 0)]

# Hyperparameters
lr = flor.arg("lr", 1e-3)
batch_size = flor.arg("batch_size", 32)

with flor.checkpointing(model=net, optimizer=optimizer):
    for epoch in flor.loop("epoch", range(epochs)):
        for x, y in flor.loop("step", trainloader):
            net.weight += lr * x[0]
            flor.log("loss", net.weight)
"""


def test_first_log_is_in_the_frame(tmp_path: Path) -> None:
    """One log in a sandbox, and the frame that shows it."""
    with flor.run(store=tmp_path / "store", project="flor_sandbox", capture=()):
        flor.log("message", "Hello ML World!")

    frame = flor.dataframe("message", store=tmp_path / "store")

    assert frame[["project", "message"]].values.tolist() == [["flor_sandbox", "Hello ML World!"]]


def test_training_script_takes_arguments_from_the_command_line(tmp_path: Path) -> None:
    """The tracked script, its ``--kwargs``, and a frame with typed arguments beside every step's loss."""
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "pyproject.toml").touch()
    command = [sys.executable, "train.py", "--kwargs", "lr=5e-4", "batch_size=64"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)

    frame = flor.dataframe("lr", "batch_size", "loss", store=tmp_path / ".hindsight")

    expected, weight = [], 0.0
    for epoch in range(2):
        for step, x in enumerate((1.0, 2.0, 3.0)):
            weight += 5e-4 * x
            expected.append((epoch, step, 5e-4, 64, weight))
    shown = frame[["epoch", "step", "lr", "batch_size", "loss"]].itertuples(index=False, name=None)
    assert list(shown) == expected


def test_iterations_count_by_themselves(tmp_path: Path) -> None:
    """``iteration`` without an index, as FlorDB's users write it."""
    with flor.run(store=tmp_path / "store", capture=()):
        for name in ("a.pdf", "b.pdf"):
            with flor.iteration("document", None, name):
                flor.log("pages", len(name))

    frame = flor.dataframe("pages", store=tmp_path / "store")

    assert frame[["document", "pages"]].values.tolist() == [["a.pdf", 5], ["b.pdf", 5]]
