"""``hindsight checkpoints``, and what ``hindsight show`` says of checkpoints and replays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import Call

SCRIPT = """
import tracker
net = {"w": [0.0] * 4}
with tracker.checkpointing(net=net):
    for epoch in tracker.loop("epoch", range(3)):
        for step in tracker.loop("step", range(2)):
            net["w"][0] += epoch
        tracker.log("w", net["w"][0])
"""
PROBE = '        tracker.log("half", net["w"][0] / 2)\n'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with three checkpoints, and a replay of it."""
    folder = tmp_path_factory.mktemp("project")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HINDSIGHT_")}
    kept["HINDSIGHT_CHECKPOINTS"] = "all"
    for text, words in ((SCRIPT, ["train.py"]), (SCRIPT + PROBE, ["-m", "tracker", "replay", "half", "--json"])):
        (folder / "train.py").write_text(text)
        subprocess.run([sys.executable, *words], cwd=folder, env=kept, check=True, capture_output=True, timeout=120)
    return folder


def test_each_has_a_line(hindsight: Call, project: Path) -> None:
    """Where it stands, how large it is, what it cost; below the sums."""
    ended = hindsight("checkpoints", "latest", "--store", project / ".hindsight")

    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[0].split()[:5] == ["number", "at", "the", "end", "of"]
    assert [line.split()[:3] for line in lines[1:4]] == [[str(n), f"epoch={n}:", "step"] for n in range(3)]
    assert lines[4].startswith("3 checkpoints: ")


def test_the_last_ones_are_shown(hindsight: Call, project: Path) -> None:
    """``--limit`` bounds the output, which says how much is missing; in JSON, too."""
    words = ("checkpoints", "latest", "--store", project / ".hindsight", "--limit", "1")

    lines = hindsight(*words).out.splitlines()
    assert lines[0] == "… 2 earlier ones: --limit 0 shows all"
    assert lines[2].split()[0] == "2"
    assert lines[3].startswith("3 checkpoints: ")
    document = hindsight(*words, "--json").json
    assert (document["total"], document["more"], len(document["checkpoints"])) == (3, 2, 1)
    (last,) = document["checkpoints"]
    assert (last["index"], last["objects"], last["position"]["loop"]) == (2, ["net"], "epoch")


def test_numbers_go_on_over_attempts(hindsight: Call, tmp_path: Path) -> None:
    """A number names one checkpoint of the run, as for ``load_checkpoint``; several attempts have a column."""
    (tmp_path / "train.py").write_text(SCRIPT)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HINDSIGHT_")}
    kept |= {"HINDSIGHT_CHECKPOINTS": "all", "HINDSIGHT_RUN_ID": "night-1"}
    for _ in range(2):
        subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=kept, check=True, timeout=120)

    lines = hindsight("checkpoints", "latest", "--store", tmp_path / ".hindsight").out.splitlines()

    assert lines[0].split()[:2] == ["number", "attempt"]
    assert [line.split()[0] for line in lines[1:7]] == [str(number) for number in range(6)]
    assert len({line.split()[1] for line in lines[1:7]}) == 2


def test_a_run_without_any(hindsight: Call, store: Path) -> None:
    """Says when they are taken, and is no error."""
    ended = hindsight("checkpoints", "latest", "--store", store)

    assert (ended.code, ended.out) == (0, "")
    assert "with tracker.checkpointing(" in ended.err
    assert hindsight("checkpoints", "latest", "--store", store, "--json").json["total"] == 0


def test_show_tells_of_checkpoints_and_replays(hindsight: Call, project: Path) -> None:
    """One line for the checkpoints, one for what the run was asked later; the same in JSON."""
    words = ("show", "latest", "--store", project / ".hindsight")

    shown = hindsight(*words).out
    assert "  checkpoints  3, the last at epoch=2\n" in shown
    assert "  asked for    half: 3 values, exact (replay " in shown
    document = hindsight(*words, "--json").json
    assert document["checkpoints"] == 3
    (asked,) = document["replays"]
    assert (asked["names"], asked["values"], asked["fidelity"]) == (["half"], 3, "exact")
    assert asked["replay"][-8:] in shown


def test_show_bears_damage(hindsight: Call, project: Path) -> None:
    """Where a manifest and a plan cannot be read, the rest of the run is shown all the same."""
    store = project / ".hindsight"
    damaged = [*store.glob("runs/*/checkpoints/*/*2.json"), *store.glob("replays/*/plan.json")]
    whole = [path.read_bytes() for path in damaged]
    for path in damaged:
        path.write_bytes(b"{")

    ended = hindsight("show", "latest", "--store", store)

    for path, data in zip(damaged, whole, strict=True):
        path.write_bytes(data)
    assert (ended.code, len(damaged)) == (0, 2)
    assert "  checkpoints  3, the last at an unknown place\n" in ended.out
