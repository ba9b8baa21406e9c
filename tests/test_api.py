"""The public functions that only look up what they are bound to: replay, and checkpoints of runs by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tracker
from tracker.errors import NotFound, RunNotFound

SCRIPT = """
import numpy as np
import tracker
net = {"w": np.zeros(4)}
with tracker.checkpointing(net=net):
    for epoch in tracker.loop("epoch", range(4)):
        for step in tracker.loop("step", range(3)):
            net["w"] += epoch
            tracker.log("sum", net["w"].sum())
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a script with checkpoints ran."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "train.py").write_text(SCRIPT)
    _python(folder, "train.py")
    return folder


def _python(folder: Path, *words: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HINDSIGHT_")}
    command = [sys.executable, "-W", "error", *words]
    kept["HINDSIGHT_CHECKPOINTS"] = "all"
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(("at", "expected"), [(None, 18.0), ({"epoch": 2}, 9.0), (0, 0.0), (-2, 9.0)])
def test_checkpoints_are_loaded_by_place_and_number(
    project: Path, at: int | dict[str, int] | None, expected: float
) -> None:
    """The last one without a place, the last of an iteration, or one by its number; arrays come as they were."""
    saved = tracker.load_checkpoint("latest", at, store=project / ".hindsight")

    assert list(saved) == ["net"]
    np.testing.assert_array_equal(saved["net"]["w"], np.full(4, expected))


def test_a_run_may_be_named_by_its_end(project: Path) -> None:
    """As everywhere, and an unknown one is told with what there is."""
    (run,) = tracker.runs(store=project / ".hindsight")

    assert tracker.load_checkpoint(run.short, store=project / ".hindsight").manifest.run == run.run
    with pytest.raises(RunNotFound, match=f"the latest is {run.short}"):
        tracker.load_checkpoint("00000", store=project / ".hindsight")


@pytest.mark.parametrize(
    ("at", "told"),
    [({"epoch": 9}, "first and last at epoch=0 and epoch=3"), ({"pass": 1}, "it has 4"), (4, "numbered 0 to 3")],
)
def test_a_place_without_checkpoint_is_told(project: Path, at: int | dict[str, int], told: str) -> None:
    """With where the checkpoints are."""
    with pytest.raises(NotFound, match=told):
        tracker.load_checkpoint("latest", at, store=project / ".hindsight")


@pytest.mark.parametrize("imports", ["import tracker", "import tracker.replay", "from tracker import replay, log"])
def test_replay_is_a_room_that_can_be_called(project: Path, imports: str) -> None:
    """However it was imported, it plans a replay when it is called, and has ``propagate`` inside."""
    asked = (project / "ask.py").relative_to(project)
    (project / asked).write_text(
        f"{imports}\nimport tracker\nprint(tracker.replay('sum', dry_run=True).plan.runs[0].skipped)\n"
        "print(tracker.replay.propagate.__name__)\n"
    )

    assert _python(project, str(asked)).split("\n")[:2] == ["it has it already", "propagate"]
