"""A run that was killed goes on from its last checkpoint, and ends as it would have ended."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tracker.read.catalog import scan
from tracker.read.frame import dataframe
from tracker.store.open import open_store

SLOW = """
import random, sys, time
import numpy as np
import tracker

rng = np.random.default_rng(4)
random.seed(8)
w, velocity, best = np.zeros(5), np.zeros(5), None
with tracker.checkpointing(w=w, velocity=velocity, resume=True):
    for epoch in tracker.loop("epoch", range(8)):
        for step in tracker.loop("step", range(10)):
            velocity = velocity * 0.9 + rng.normal(size=5) * random.random()
            w += velocity
            tracker.log("loss", float((w**2).sum()))
            time.sleep(float(sys.argv[1]))
        best = float(w.sum()) if best is None else max(best, float(w.sum()))
        tracker.log("best", best)
tracker.log("final", float(w.sum()) + best)
"""
TORCH = """
import sys, time
import torch
import tracker
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)
torch.set_num_threads(1)
X = torch.randn(40, 4)
y = (X.sum(dim=1) > 0).long()
loader = DataLoader(TensorDataset(X, y), batch_size=10, shuffle=True)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
best = 0.0
with tracker.checkpointing(net=net, optimizer=optimizer, scheduler=scheduler, resume=True):
    for epoch in tracker.loop("epoch", range(6)):
        for step, (xb, yb) in tracker.loop("step", enumerate(loader)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(xb), yb)
            loss.backward()
            optimizer.step()
            tracker.log("loss", loss.item())
            time.sleep(float(sys.argv[1]))
        scheduler.step()
        best = max(best, float(net(X)[0, 0]))
        tracker.log("best", best)
tracker.log("final", best + loss.item())
"""
PROGRAMS = ["numpy", pytest.param("torch", marks=pytest.mark.torch)]
# `velocity` is bound anew in each step: the registered object is the first one, and the variable is a local.

RUN = "my-training"


def start(folder: Path, store: Path, sleep_s: float) -> subprocess.Popen[bytes]:
    """The program as its user starts it, again and again with the same identity."""
    environment = {"HINDSIGHT_STORE": str(store), "HINDSIGHT_RUN_ID": RUN, "HINDSIGHT_CHECKPOINTS": "all"}
    command = [sys.executable, "train.py", str(sleep_s)]
    return subprocess.Popen(command, cwd=folder, env={**os.environ, **environment})


def results(store: Path) -> dict[str, list[float]]:
    """All values of the run in the order of their contexts."""
    opened = open_store(store, create=False)
    found = {}
    for name, loops in (("loss", ["epoch", "step"]), ("best", ["epoch"]), ("final", [])):
        frame = dataframe(opened, name)
        frame = frame[frame[name].notna()]
        found[name] = (frame.sort_values(loops) if loops else frame)[name].tolist()
    return found


@pytest.mark.parametrize("kills", [1, 3])
@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_killed_run_ends_as_if_nothing_had_happened(tmp_path: Path, kind: str, kills: int) -> None:
    """Killed at random moments and started again: the same values, each once, in one run of several attempts."""
    if kind == "torch":
        pytest.importorskip("torch")
    (tmp_path / "train.py").write_text(TORCH if kind == "torch" else SLOW)
    assert start(tmp_path, tmp_path / "whole", 0.0).wait(60) == 0
    chance = random.Random(kills)
    for _ in range(kills):
        process = start(tmp_path, tmp_path / "store", 0.02)
        deadline = time.monotonic() + 30
        known = len(list(tmp_path.glob("store/runs/*/checkpoints/*/*.json")))
        while len(list(tmp_path.glob("store/runs/*/checkpoints/*/*.json"))) == known and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(tmp_path, tmp_path / "store", 0.0).wait(60) == 0

    assert results(tmp_path / "store") == results(tmp_path / "whole")
    (view,) = scan(open_store(tmp_path / "store", create=False))
    assert len(view.attempts) == kills + 1
    assert view.status == "finished"


def test_a_complete_run_is_not_executed_again(tmp_path: Path) -> None:
    """Started once more it restores its last state, and logs what follows the loop."""
    (tmp_path / "train.py").write_text(SLOW + "print('steps', step, epoch)\n")
    assert start(tmp_path, tmp_path / "store", 0.0).wait(60) == 0
    before = results(tmp_path / "store")

    assert start(tmp_path, tmp_path / "store", 60.0).wait(60) == 0

    assert results(tmp_path / "store") == before


def test_without_resume_a_second_attempt_begins_anew(tmp_path: Path) -> None:
    """Nobody goes on from a checkpoint unasked."""
    (tmp_path / "train.py").write_text(SLOW.replace(", resume=True", "").replace("range(8)", "range(2)"))
    for _ in range(2):
        assert start(tmp_path, tmp_path / "store", 0.0).wait(60) == 0

    taken = [json.loads(path.read_text()) for path in tmp_path.glob("store/runs/*/checkpoints/*/*.json")]

    assert sorted(manifest["position"]["iteration"] for manifest in taken) == [0, 0, 1, 1]
