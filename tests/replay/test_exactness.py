"""Replays against the truth: what the program logs when it had the probe from the beginning, without the tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.replay.programs import Project, make_project, program, truth

TWO_LEVELS = """
import random
import numpy as np
import tracker

lr = tracker.arg("lr", 0.1)
rng = np.random.default_rng(7)
random.seed(3)
np.random.seed(5)
w = rng.normal(size=4)
velocity = np.zeros(4)
history = []
best = None
with tracker.checkpointing(w=w, velocity=velocity):
    for epoch in tracker.loop("epoch", range(5)):
        scale = 1.0 if best is None else best
        for step in tracker.loop("step", range(8)):
            g = rng.normal(size=4) + np.random.rand() + random.random() * scale
            velocity *= 0.9
            velocity -= lr * g
            w += velocity
            loss = float((w**2).sum())
            tracker.log("loss", loss)
            # inner
        history.append(loss)
        best = min(history)
        lr *= 0.7
        # outer
        tracker.log("best", best)
    # after
"""
INNER = 'tracker.log("probe", float((g * velocity).sum()))'
OUTER = 'tracker.log("probe", float(np.abs(w).sum()) + len(history) + lr + best)'

THREE_LEVELS = """
import numpy as np
import tracker

rng = np.random.default_rng(1)
state = {"total": 0.0, "seen": []}
with tracker.checkpointing(state=state):
    for epoch in tracker.loop("epoch", range(4)):
        for part in tracker.loop("part", range(3)):
            for step in tracker.loop("step", range(4)):
                x = float(rng.normal())
                state["total"] += x
                tracker.log("x", x)
                # inner
            state["seen"].append(state["total"])
            # middle
        tracker.log("total", state["total"])
        # outer
"""

TWO_BLOCKS = """
import numpy as np
import tracker

rng = np.random.default_rng(3)
w = np.zeros(3)

def train(w, count):
    total = 0.0
    for step in tracker.loop("step", range(count)):
        w += rng.normal(size=3)
        total += float(w.sum())
        tracker.log("loss", total)
        # inner
    return total

def evaluate(w):
    score = 0.0
    for batch in tracker.loop("batch", range(3)):
        score += float((w * rng.normal(size=3)).sum())
        # check
    return score

with tracker.checkpointing(w=w):
    for epoch in tracker.loop("epoch", range(4)):
        total = train(w, 5)
        w *= 0.5
        score = evaluate(w)
        tracker.log("score", score)
        # outer
"""

ONE_LEVEL = """
import numpy as np
import tracker

rng = np.random.default_rng(11)
w, count = np.zeros(2), 0
with tracker.checkpointing(w=w):
    for epoch in tracker.loop("epoch", range(12)):
        w += rng.normal(size=2)
        count += 1
        tracker.log("loss", float(w.sum()))
        # outer
tracker.log("final", float(w.sum()))
# after
"""

BREAKS = """
import numpy as np
import tracker

rng = np.random.default_rng(5)
w, stream = np.zeros(2), iter(range(1000))
with tracker.checkpointing(w=w):
    for epoch in tracker.loop("epoch", range(6)):
        taken = 0
        for item in tracker.loop("step", stream):
            w += rng.normal(size=2)
            taken += item
            tracker.log("loss", float(w.sum()))
            if item % 7 == 6:
                break
        tracker.log("taken", taken)
        # outer
        if epoch == 4:
            break
# after
"""

ALIASES = """
import numpy as np
import tracker

rng = np.random.default_rng(5)
w, items = rng.normal(size=3), [1.0]
view, same = w[:2], items
with tracker.checkpointing(rng=rng):
    for epoch in tracker.loop("epoch", range(4)):
        for step in tracker.loop("step", range(2)):
            w = w * 0.5 + rng.normal(size=3)
            items.append(float(w.sum()))
            tracker.log("loss", float(w.sum()))
        tracker.log("last", items[-1])
        # outer
"""

SWAPS = """
import numpy as np
import tracker

a, b, c = np.zeros(2), np.ones(2), None
with tracker.checkpointing(a=a, b=b):
    for epoch in tracker.loop("epoch", range(5)):
        for step in tracker.loop("step", range(3)):
            a, b = b, a
            a += step + 1
            c = b
        tracker.log("sum", float(a.sum()))
        # outer
"""

VIEWS = """
import numpy as np
import tracker

w, last, head = np.arange(4.0), 0.0, np.zeros(2)
with tracker.checkpointing(last=[last]):
    for epoch in tracker.loop("epoch", range(4)):
        for step in tracker.loop("step", range(2)):
            w = w + 1.0
            head = w[:2]
        head += epoch
        tracker.log("last", float(w.sum()))
        # outer
"""

CASES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "inner of two": (TWO_LEVELS, "inner", INNER, ("epoch", "step")),
    "outer of two": (TWO_LEVELS, "outer", OUTER, ("epoch",)),
    "after the loop": (TWO_LEVELS, "after", 'tracker.log("probe", best + len(history) + float(w.sum()))', ()),
    "inner of three": (THREE_LEVELS, "inner", 'tracker.log("probe", x + state["total"])', ("epoch", "part", "step")),
    "middle of three": (THREE_LEVELS, "middle", 'tracker.log("probe", len(state["seen"]))', ("epoch", "part")),
    "outer of three": (THREE_LEVELS, "outer", 'tracker.log("probe", sum(state["seen"]))', ("epoch",)),
    "first of two blocks": (TWO_BLOCKS, "inner", 'tracker.log("probe", float(w.max()))', ("epoch", "step")),
    "second of two blocks": (TWO_BLOCKS, "check", 'tracker.log("probe", score)', ("epoch", "batch")),
    "outside of two blocks": (TWO_BLOCKS, "outer", 'tracker.log("probe", score * total)', ("epoch",)),
    "single loop": (ONE_LEVEL, "outer", 'tracker.log("probe", float(w.max()) + count)', ("epoch",)),
    "after a single loop": (ONE_LEVEL, "after", 'tracker.log("probe", count * float(w.min()))', ()),
    "an iterator that outlives its loop": (BREAKS, "outer", 'tracker.log("probe", taken + float(w[0]))', ("epoch",)),
    "other names of objects": (ALIASES, "outer", 'tracker.log("probe", float(view.sum()) + sum(same))', ("epoch",)),
    "variables that swap objects": (SWAPS, "outer", 'tracker.log("probe", float(b[0] * 9 + c[1]))', ("epoch",)),
    "views of arrays": (VIEWS, "outer", 'tracker.log("probe", float(w.sum() + head[0]))', ("epoch",)),
    "after a break": (BREAKS, "after", 'tracker.log("probe", epoch + taken)', ()),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PYTEST_TRUTH", str(tmp_path))
    return make_project(tmp_path)


@pytest.mark.parametrize("checkpoints", ["all", "none"])
@pytest.mark.parametrize("case", CASES)
def test_replay_gives_what_the_probe_would_have_logged(project: Project, case: str, checkpoints: str) -> None:
    """Every value, exactly, with dense checkpoints and with none."""
    body, place, probe, loops = CASES[case]
    project.commit(program(body))
    project.record(checkpoints=checkpoints)
    project.commit(program(body, **{place: probe}))

    done = project.replay("probe")

    assert [result.outcome for result in done.results.values()] == ["answered"] * len(done.results), done.results
    assert project.values("probe", *loops) == truth(program(body, **{place: probe}), "probe", *loops)
    nothing_to_compare = case == "after the loop" and checkpoints == "all"  # it begins behind all that was logged
    assert project.fidelities("probe") == {"unverified" if nothing_to_compare else "exact"}


@pytest.mark.parametrize("case", ["inner of two", "outer of two", "inner of three", "first of two blocks"])
def test_slices_that_start_in_the_middle_are_exact(project: Project, case: str) -> None:
    """Single iterations, each restored from the exit of the block before it."""
    body, place, probe, loops = CASES[case]
    project.commit(program(body))
    project.record()
    project.commit(program(body, **{place: probe}))

    done = project.replay("probe", iterations={"epoch": [1, 3]})

    assert all(result.outcome == "answered" for result in done.results.values()), done.results
    assert any(piece.checkpoint for piece in done.plan.slices)
    wanted = truth(program(body, **{place: probe}), "probe", *loops)
    assert project.values("probe", *loops) == [row for row in wanted if row[0] in (1, 3)]
    assert project.fidelities("probe") == {"exact"}


def test_recorded_arguments_are_given_again(project: Project) -> None:
    """Arguments of the command line are those of the run that is asked."""
    project.commit(program(TWO_LEVELS))
    project.record("lr=0.5")
    project.commit(program(TWO_LEVELS, outer=OUTER).replace('"lr", 0.1', '"lr", 7.0'))

    project.replay("probe")

    wanted: list[tuple[Any, ...]] = truth(program(TWO_LEVELS, outer=OUTER), "probe", "epoch", lr=0.5)
    assert project.values("probe", "epoch") == wanted
    assert project.fidelities("probe") == {"exact"}


def test_an_unseeded_program_is_never_exact(project: Project) -> None:
    """Executed from its start, it logs other values, and says so."""
    body = TWO_LEVELS.replace("default_rng(7)", "default_rng()")
    project.commit(program(body))
    project.record(checkpoints="none")
    project.commit(program(body, outer=OUTER))

    done = project.replay("probe")

    assert {result.fidelity for result in done.results.values()} == {"diverged"}
    assert "exact" not in project.fidelities("probe")


def test_a_loop_that_is_checkpointed_several_times_is_told_apart(project: Project) -> None:
    """Objects that are registered anew for each fold, and twice in the same place, have checkpoints of their own."""
    body = """
    import numpy as np
    import tracker

    rng = np.random.default_rng(2)
    for fold in tracker.loop("fold", range(2)):
        for again in (1, 2):
            w = np.zeros(2)
            with tracker.checkpointing(w=w):
                for epoch in tracker.loop("epoch", range(3)):
                    for step in tracker.loop("step", range(4)):
                        w += rng.normal(size=2) * again
                    tracker.log("w", float(w.sum()))
                    # outer
    """
    probe = 'tracker.log("probe", float(w.max()))'
    project.commit(program(body))
    project.record()
    project.commit(program(body, outer=probe))

    done = project.replay("probe")

    assert done.plan.runs[0].run_blocks == ()
    wanted = truth(program(body, outer=probe), "probe", "fold", "epoch")
    assert len(wanted) == 12
    assert project.values("probe", "fold", "epoch") == wanted
    assert project.fidelities("probe") == {"exact"}
