"""Runs and versions as users have them: helpers, functions, crashes, kills, versions that differ, other libraries."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.replay.programs import Project, git, logged, make_project, program
from tracker.replay.asking import Replay

Rows = list[tuple[Any, ...]]

TRAIN = """
import numpy as np
import tracker
from helper import update

rng = np.random.default_rng(2)
w, seen = np.zeros(3), []
lr = tracker.arg("lr", 0.5)

def run_epoch(w, seen):
    total = 0.0
    for step in tracker.loop("step", range(5)):
        g = rng.normal(size=3)
        total += update(w, g, lr)
        # inner
    seen.append(total)
    return total

with tracker.checkpointing(w=w, seen=seen):
    for epoch in tracker.loop("epoch", range(4)):
        # top
        loss = run_epoch(w, seen)
        lr *= 0.9
        tracker.log("loss", loss)
        # outer
        # stop
"""
HELPER = """
import numpy as np
import tracker

def update(w, g, lr):
    norm = float(np.abs(g).sum())
    # helper
    w -= lr * g
    return norm
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A repository with the helper module in it."""
    made = make_project(tmp_path)
    (made.folder / "helper.py").write_text(program(HELPER))
    return made


def expected(project: Project, name: str, *loops: str) -> Rows:
    """The truth of the version that stands in the project now."""
    return sorted((*(row[loop] for loop in loops), value) for row, value in logged(project, name))


def fidelities(done: Replay) -> set[str]:
    """Of all slices; every one must have an answer."""
    assert {result.outcome for result in done.results.values()} == {"answered"}, done.results
    return {result.fidelity for result in done.results.values()}


@pytest.mark.parametrize("checkpoints", ["all", "none"])
def test_a_probe_in_a_helper_module(project: Project, checkpoints: str) -> None:
    """It is called from the inner loop, which therefore runs."""
    project.commit(program(TRAIN))
    project.record(checkpoints=checkpoints)
    (project.folder / "helper.py").write_text(program(HELPER, helper='tracker.log("probe", norm + float(w.sum()))'))
    wanted = expected(project, "probe", "epoch", "step")

    done = project.replay("probe")

    assert project.values("probe", "epoch", "step") == wanted
    assert fidelities(done) == {"exact"}


def test_a_probe_in_a_function_that_the_inner_loop_calls(project: Project) -> None:
    """A function of the script itself; every value, not the last epoch's."""
    body = TRAIN.replace("total += update(w, g, lr)", "total += change(w, g)").replace(
        "def run_epoch",
        "def change(w, g):\n    norm = update(w, g, lr)\n    # changed\n    return norm\n\ndef run_epoch",
    )
    project.commit(program(body))
    project.record()
    project.commit(program(body, changed='tracker.log("probe", norm * lr)'))

    done = project.replay("probe")

    assert project.values("probe", "epoch", "step") == expected(project, "probe", "epoch", "step")
    assert fidelities(done) == {"exact"}


def test_several_probes_at_once(project: Project) -> None:
    """At three levels, with one replay."""
    project.commit(program(TRAIN))
    project.record()
    project.commit(
        program(
            TRAIN,
            inner='tracker.log("norm", float((g**2).sum()))',
            outer='tracker.log("weight", float(w.sum()) + len(seen))',
            stop='tracker.log("rate", lr)',
        )
    )

    done = project.replay("norm", "weight", "rate")

    assert project.values("norm", "epoch", "step") == expected(project, "norm", "epoch", "step")
    assert project.values("weight", "epoch") == expected(project, "weight", "epoch")
    assert project.values("rate", "epoch") == expected(project, "rate", "epoch")
    assert fidelities(done) == {"exact"}


def test_one_of_two_statements_of_a_name(project: Project) -> None:
    """``name@line`` asks for that statement only."""
    project.commit(program(TRAIN))
    project.record()
    project.commit(program(TRAIN, inner='tracker.log("probe", total)', outer='tracker.log("probe", lr)'))
    source = (project.folder / "train.py").read_text().splitlines()
    line = 1 + source.index('        tracker.log("probe", lr)')

    done = project.replay(f"train.py@{line}")

    wanted = [(row["epoch"], value) for row, value in logged(project, "probe") if "step" not in row]
    assert project.values("probe", "epoch") == wanted
    assert fidelities(done) == {"exact"}


ENDINGS = {
    "an exception": "if epoch == 2:\n    raise RuntimeError('the end')",
    "a kill": """
        import os, pathlib, signal, time
        for turn in range(300 * (epoch == 2)):  # until the store has its code, but not in a replay
            if list(pathlib.Path(os.environ["HINDSIGHT_STORE"]).rglob("code.json")) or turn == 299:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.01)
    """,
    "a break": "if epoch == 2:\n    break",
    "sys.exit": "import sys\nif epoch == 2:\n    sys.exit(3)",
}


@pytest.mark.parametrize("where", ["inner", "outer"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_runs_that_did_not_get_to_their_end(project: Project, ending: str, where: str) -> None:
    """All that a run got to is answered, and nothing beyond."""
    probes = {"inner": 'tracker.log("probe", total)', "outer": 'tracker.log("probe", float(w.sum()) + lr)'}
    body = program(TRAIN, stop=ENDINGS[ending])
    project.commit(body)
    project.record(check=False)
    project.commit(program(body, **{where: probes[where]}))
    levels = ("epoch", "step") if where == "inner" else ("epoch",)

    done = project.replay("probe")

    (project.folder / "train.py").write_text(program(TRAIN, **{where: probes[where], "stop": ENDINGS["a break"]}))
    assert project.values("probe", *levels) == expected(project, "probe", *levels)
    assert fidelities(done) == {"exact"}


def test_versions_that_differ(project: Project) -> None:
    """One does not parse, one has no place for the probe; both are reported, and the others answer."""
    project.commit(program(TRAIN))
    first = project.record()
    other = TRAIN.replace("loss = run_epoch", "result = run_epoch").replace('"loss", loss', '"loss", result')
    project.commit(program(other).replace("range(5)", "range(3)"))
    second = project.record()
    (project.folder / "helper.py").write_text("def something():\n    return 1\n")
    project.commit("import tracker\nfrom helper import something\ntracker.log('loss', something())\n")
    third = project.record()
    (project.folder / "helper.py").write_text("def update(w, g:\n")
    project.commit("import tracker\ntracker.log('loss', 1.0)\nimport helper\n")
    fourth = project.record(check=False)
    (project.folder / "helper.py").write_text(program(HELPER, helper='tracker.log("probe", norm + float(w.sum()))'))
    project.commit(program(TRAIN))

    done = project.replay("probe")

    states = {planned.run: done.state(planned) for planned in done.plan.runs}
    reasons = {planned.run: planned.skipped for planned in done.plan.runs}
    assert states == {first: "exact", second: "exact", third: "skipped", fourth: "skipped"}, reasons
    assert "update" in str(reasons[third])
    assert "helper.py" in str(reasons[fourth])
    assert len(project.values("probe", "epoch")) == 4 * 5 + 4 * 3


def test_changed_arguments(project: Project) -> None:
    """The run with another learning rate: all of it is executed, and nothing is called exact."""
    project.commit(program(TRAIN))
    project.record()
    project.commit(program(TRAIN, outer='tracker.log("probe", float(w.sum()))'))

    done = project.replay("probe", overrides={"lr": 0.25})

    wanted = sorted((row["epoch"], value) for row, value in logged(project, "probe", lr=0.25))
    assert project.values("probe", "epoch") == wanted
    assert fidelities(done) == {"unverified"}


def test_blocks_whose_state_is_incomplete_are_executed(project: Project) -> None:
    """An object without a form that a state could have, changed by the loop: nothing is restored that lacks it."""
    body = TRAIN.replace("w, seen =", "stream = (i * 0.5 for i in range(99))\nw, seen =").replace(
        "lr *= 0.9", "lr *= next(stream) / 9 + 0.5"
    )
    project.commit(program(body))
    project.record()
    project.commit(program(body, outer='tracker.log("probe", float(w.sum()) + lr)'))

    done = project.replay("probe")

    assert project.values("probe", "epoch") == expected(project, "probe", "epoch")
    (result,) = done.results.values()
    assert result.fidelity == "exact"


SKLEARN = """
import numpy as np
import tracker
from sklearn.linear_model import SGDClassifier

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
y = (X[:, 0] > 0).astype(int)
model = SGDClassifier(random_state=3)
with tracker.checkpointing(model=model):
    for epoch in tracker.loop("epoch", range(4)):
        order = rng.permutation(60)
        for step in tracker.loop("step", range(3)):
            batch = order[step * 20 : step * 20 + 20]
            model.partial_fit(X[batch], y[batch], classes=[0, 1])
            # inner
        tracker.log("score", float(model.score(X, y)))
        # outer
"""


@pytest.mark.parametrize("place", ["inner", "outer"])
def test_an_estimator_of_scikit_learn(project: Project, place: str) -> None:
    """``partial_fit`` goes on from the restored state, exactly."""
    pytest.importorskip("sklearn")
    project.commit(program(SKLEARN))
    project.record()
    project.commit(program(SKLEARN, **{place: 'tracker.log("probe", float(model.coef_.sum() + model.t_))'}))
    levels = ("epoch", "step") if place == "inner" else ("epoch",)

    done = project.replay("probe", iterations={"epoch": [1, 3]})

    wanted = [row for row in expected(project, "probe", *levels) if row[0] in (1, 3)]
    assert project.values("probe", *levels) == wanted
    assert fidelities(done) == {"exact"}


TORCH = """
import torch
import tracker
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)
X = torch.randn(48, 6)
y = (X.sum(dim=1) > 0).long()
loader = DataLoader(TensorDataset(X, y), batch_size=16, shuffle=True)
net = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
with tracker.checkpointing(net=net, optimizer=optimizer, scheduler=scheduler):
    for epoch in tracker.loop("epoch", range(4)):
        net.train()
        for xb, yb in tracker.loop("step", loader):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(xb), yb)
            loss.backward()
            optimizer.step()
            tracker.log("loss", loss.item())
            # inner
        scheduler.step()
        net.eval()
        with torch.no_grad():
            accuracy = (net(X).argmax(dim=1) == y).float().mean().item()
        tracker.log("accuracy", accuracy)
        # outer
"""


@pytest.mark.torch
@pytest.mark.parametrize(
    ("place", "probe"),
    [
        ("inner", "float(sum(p.grad.norm() for p in net.parameters()))"),
        ("outer", "float(sum(p.abs().sum() for p in net.parameters())) + optimizer.param_groups[0]['lr']"),
    ],
)
def test_torch_with_all_that_it_keeps(project: Project, place: str, probe: str) -> None:
    """Moments, schedules, batch statistics, the order of batches and dropout: exact from checkpoints."""
    pytest.importorskip("torch")
    project.commit(program(TORCH))
    project.record()
    project.commit(program(TORCH, **{place: f'tracker.log("probe", {probe})'}))
    levels = ("epoch",)

    done = project.replay("probe", iterations={"epoch": [1, 3]})

    assert any(piece.checkpoint for piece in done.plan.slices)
    wanted = [row for row in expected(project, "probe", *levels) if row[0] in (1, 3)]
    assert project.values("probe", *levels) == wanted
    assert fidelities(done) == {"exact"}


def state_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file of a repository, ``.git`` included: its content and time of change."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }


def test_the_repository_is_not_touched(project: Project) -> None:
    """Byte for byte and to the nanosecond, also files that git does not know, and where the script writes."""
    body = program(TRAIN).replace("w, seen =", "open('out.txt', 'a').write('x')\nw, seen =")
    (project.folder / ".gitignore").write_text("out.txt\n__pycache__/\n")
    project.commit(body)
    project.record()
    git(project.folder, "status")  # refreshes the index
    (project.folder / "train.py").write_text(body.replace("# outer", "tracker.log('probe', loss)"))
    (project.folder / "untracked.txt").write_text("mine")
    before = state_of(project.folder)

    done = project.replay("probe")

    assert fidelities(done) == {"exact"}
    assert state_of(project.folder) == before
