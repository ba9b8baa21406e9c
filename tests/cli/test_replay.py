"""``hindsight replay`` as people and programs call it, on real runs of three versions of a script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tracker
from tests.cli.calling import Start, Started, typed_at_terminal

FIRST = """
import random
import tracker

lr = tracker.arg("lr", 0.1)
random.seed(tracker.arg("seed", 1))
model = {"w": 0.0}
with tracker.checkpointing(model=model):
    for epoch in tracker.loop("epoch", range(4)):
        for step in tracker.loop("step", range(5)):
            error = model["w"] - 3 + random.gauss(0, 0.1)
            model["w"] -= lr * error
            tracker.log("loss", error**2)
        tracker.log("w", model["w"])
"""
SECOND = FIRST.replace("error", "wrong")
NOW = (
    SECOND
    + """\
        tracker.log("distance", abs(model["w"] - 3))
        tracker.log("gap", 3 - model["w"])
        tracker.log("odd", 1 / (epoch - 2 if lr > 0.2 else 1))
        tracker.log("double", 2 * model["w"])
        tracker.log("half", model["w"] / 2)
        tracker.log("third", model["w"] / 3)
"""
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished runs: two of the first version, with ``lr`` 0.1 and 0.3, and one of the second."""
    folder = tmp_path_factory.mktemp("project")
    _git(folder, "init", "-q")
    (folder / ".gitignore").write_text("__pycache__/\n")
    for text, values in ((FIRST, ("lr=0.1", "lr=0.3")), (SECOND, ("lr=0.1",)), (NOW, ())):
        (folder / "train.py").write_text(text)
        _git(folder, "add", ".")
        _git(folder, "commit", "-q", "-m", "next")
        for value in values:
            kept = {name: value for name, value in os.environ.items() if not name.startswith("HINDSIGHT_")}
            command = [sys.executable, "train.py", "--kwargs", value]
            subprocess.run(command, cwd=folder, env=kept | {"HINDSIGHT_CHECKPOINTS": "all"}, check=True, timeout=120)
    return folder


def _git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def ask(start: Start, project: Path) -> Start:
    """``hindsight replay`` in the project, in a pipe."""

    def call(*words: object, **_: object) -> Started:
        return start("replay", *words, cwd=project, stdin=subprocess.DEVNULL)

    return call


def test_dry_run_shows_plan_and_code(ask: Start, project: Path) -> None:
    """Each run with what will run, each version once with what would be put into it; nothing is written."""
    done = ask("distance", "--dry-run")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("epoch 0–3, inner loops from checkpoints") == 3
    assert done.stdout.count('+        tracker.log("distance", abs(model["w"] - 3))') == 2
    assert "3 slices on" in done.stdout
    assert not (project / ".hindsight" / "replays").exists()


def test_a_pipe_is_not_asked(ask: Start, project: Path) -> None:
    """Without --yes, and without anybody to ask, nothing is executed, and the way out is said."""
    done = ask("distance")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "add --yes" in done.stderr
    assert not (project / ".hindsight" / "replays").exists()


@pytest.mark.slow
def test_answers_are_told_and_filed(ask: Start, project: Path) -> None:
    """In a pipe: a line for each slice on stderr, a table of results; the repository stays as it was."""
    before = _git(project, "status", "--porcelain"), _git(project, "for-each-ref")

    done = ask("distance", "--yes")

    assert done.returncode == 0
    assert [line.split(": ", 2)[1] for line in done.stderr.splitlines()] == ["1 of 3", "2 of 3", "3 of 3"]
    results = done.stdout.partition("fidelity  values")[2]
    assert results.count("  exact  ") == 3
    assert results.splitlines()[-1] == "the answers: hindsight dataframe distance fidelity"
    frame = tracker.dataframe("w", "distance", "fidelity", store=project / ".hindsight")
    assert (frame["distance"] == (frame["w"] - 3).abs()).all()
    assert set(frame["fidelity"]) == {"exact"}
    assert (_git(project, "status", "--porcelain"), _git(project, "for-each-ref")) == before

    again = ask("distance", "--yes")

    assert (again.returncode, again.stderr) == (0, "")
    assert ": nothing to do: answered by replay " in again.stdout
    assert again.stdout.endswith("nothing is left to execute\n")


@pytest.mark.slow
def test_a_failing_run_stops_no_other(ask: Start) -> None:
    """It is told with the last lines of its program, in paths of the project; asking again does only that one."""
    done = ask("odd", "--yes")

    assert done.returncode == 1
    assert done.stdout.count("  exact  ") == 2
    assert ": failed: the program ended with exit code 1\n" in done.stdout
    assert '    File "train.py", line ' in done.stdout
    assert "  ZeroDivisionError: division by zero\n" in done.stdout
    again = ask("odd", "--json")
    assert sorted(run["state"] for run in json.loads(again.stdout)["runs"]) == ["exact", "exact", "failed"]


def test_json_is_one_document(ask: Start) -> None:
    """With --json nobody is asked; iterations and runs are chosen as on the command line."""
    done = ask("gap", "--json", "--iter", "epoch=1,3", "--where", "lr < 0.2")

    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert document["question"] == {
        "names": ["gap"],
        "where": "lr < 0.2",
        "iterations": {"epoch": [1, 3]},
    }
    assert [(run["state"], run["values"], run["doubts"]) for run in document["runs"]] == [("exact", 2, [])] * 2
    assert {piece["result"]["outcome"] for piece in document["slices"]} == {"answered"}


def test_another_value_of_an_argument_is_never_verified(ask: Start) -> None:
    """What came out with other arguments has nothing to be compared with."""
    done = ask("double", "--override", "lr=0.5", "--where", "lr == 0.3", "--json")

    (run,) = json.loads(done.stdout)["runs"]
    assert (done.returncode, run["state"], run["values"]) == (0, "unverified", 4)


def test_a_slice_that_takes_too_long_is_ended(ask: Start) -> None:
    """The run is reported as failed, with the limit."""
    done = ask("double", "--yes", "--timeout", "0.01", "--where", "lr == 0.3")

    assert done.returncode == 1
    assert ": failed: it did not end within 0.01 s" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("nonsense",), 1, "has the name 'nonsense'"),
        (("half", "--run", "zzzz"), 1, "no run 'zzzz'"),
        (("half", "--iter", "epoch"), 2, "epoch=0,5,10-19"),
        (("half", "--executor", "cloud"), 2, "expected one of"),
        ((), 2, "`hindsight replay --help` shows what can be given"),
    ],
)
def test_slips_are_one_line(ask: Start, words: tuple[str, ...], code: int, told: str) -> None:
    """A slip in the question is told before anything happens, with what would be right."""
    done = ask(*words)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert told in done.stderr


def test_where_no_run_is_selected(ask: Start) -> None:
    """Nothing could be asked, and that is no success."""
    done = ask("half", "--yes", "--where", "lr > 7")

    assert (done.returncode, done.stdout) == (1, "no run is selected: `hindsight runs` lists those that there are\n")


def test_what_the_runs_have_is_not_executed(ask: Start) -> None:
    """A name that every run logged needs no replay, whatever its variables were called."""
    done = ask("loss")

    assert done.returncode == 0
    assert done.stdout.endswith(": nothing to do: it has it already\nnothing is left to execute\n")


def test_somebody_who_declines(project: Path) -> None:
    """At a terminal one is asked; no is an answer."""
    ended = typed_at_terminal("replay", "half", cwd=project, answer="n\n")

    assert ended.code == 1
    assert "\nStart? [Y/n]: hindsight: nothing was executed\n" in ended.out
    assert "fidelity" not in ended.out


def test_somebody_who_watches(project: Path) -> None:
    """A bar for each run and one for all of them, that end with what came out; all of it fits 80 columns."""
    ended = typed_at_terminal("replay", "half", cwd=project, answer="\n")

    assert ended.code == 0
    bars = [line for line in ended.out.splitlines() if "━" in line]
    assert [line.split()[-1] for line in bars[:3]] == ["exact"] * 3
    assert bars[3].startswith("3 runs   ━")
    assert len(bars) == 4
    assert max(map(len, ended.out.splitlines())) <= 80


@pytest.mark.slow
def test_interrupted_and_asked_again(project: Path) -> None:
    """Ctrl-C keeps what is done, and says so; the same question goes on with the rest."""
    command = [sys.executable, "-m", "tracker", "replay", "third", "--yes", "--workers", "1"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as one:
        assert one.stderr is not None
        assert "1 of 3: " in one.stderr.readline()
        one.send_signal(signal.SIGINT)
        told = one.stderr.read()
    assert one.returncode == 130
    assert "are done and kept: the same command goes on\n" in told

    taken_up = max(path.name for path in project.glob(".hindsight/replays/*"))
    done = subprocess.run([*command, "--json"], cwd=project, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0
    states = [run["state"] for run in json.loads(done.stdout)["runs"]]
    assert states == ["exact"] * 3
    assert json.loads(done.stdout)["replay"] == taken_up  # and what was done is not done again
    frame = tracker.dataframe("third", "fidelity", store=project / ".hindsight")
    assert (len(frame), set(frame["fidelity"])) == (12, {"exact"})


def test_long_reasons_stand_below_the_table(ask: Start, project: Path, tmp_path: Path) -> None:
    """A run that cannot be asked is told on a line of its own, and the table stays narrow."""
    typed = "import tracker\nfor _ in tracker.loop('epoch', range(2)):\n    tracker.log('w', 1.0)\n"
    subprocess.run([sys.executable, "-"], input=typed, cwd=project, text=True, check=True, timeout=120)

    done = ask("half", "--override", "lr=0.2", "--dry-run")

    told = [line for line in done.stdout.splitlines() if ": cannot be asked: " in line]
    assert len(told) == 1
    assert "interpreter" in told[0]
    table = done.stdout.partition(told[0])[0].splitlines()
    assert len(table) == 4
    assert max(map(len, table)) <= 80
