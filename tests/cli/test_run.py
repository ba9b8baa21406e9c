"""``hindsight run``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tracker
from tests.cli.calling import Call, Start

TRAIN = """
import argparse, tracker
parser = argparse.ArgumentParser()
parser.add_argument("--name", default="none")
lr, size, option = tracker.arg("lr", 1e-3), tracker.arg("size", 32), parser.parse_args().name
tracker.log("option", option)
"""


def test_arguments_reach_the_script(start: Start, tmp_path: Path) -> None:
    """Values come typed by their defaults, the run has its name, and the script's own options stay its own."""
    (tmp_path / "train.py").write_text(TRAIN)
    command = [sys.executable, "train.py", "--name", "own"]

    done = start("run", "-a", "lr=5e-4", "-a", "size=64", "--name", "first", "-p", "p", "--", *command, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    (run,) = tracker.runs(store=tmp_path / ".hindsight")
    assert (run.name, run.project, run.arguments) == ("first", "p", {"lr": 5e-4, "size": 64})
    assert run.summary == {"option": "own"}


def test_store_is_that_of_the_caller(start: Start, tmp_path: Path) -> None:
    """A store given as a folder is the caller's, wherever the command goes."""
    (tmp_path / "inner").mkdir()
    code = "import os; os.chdir('inner'); import tracker; tracker.log('a', 1)"

    done = start("run", "--store", "here", "--", sys.executable, "-c", code, cwd=tmp_path)

    assert done.returncode == 0
    assert len(tracker.runs(store=tmp_path / "here")) == 1


def test_exit_code_is_that_of_the_command(start: Start) -> None:
    """The command's exit code is handed on."""
    assert start("run", "--", "sh", "-c", "exit 7").returncode == 7


def test_killed_command_is_seen_as_killed() -> None:
    """A shell sees 128 + n after signal n, as it would without ``hindsight run``."""
    command = f"{sys.executable} -m tracker run -- sh -c 'kill -TERM $$'; echo $?"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)

    assert done.stdout.strip() == "143"


def test_signals_reach_the_command(tmp_path: Path) -> None:
    """A signal for ``hindsight run`` is the command's own, once."""
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'got it\\n'), sys.exit(5)))\n"
        "os.write(1, b'ready\\n')\nwhile True: time.sleep(0.05)\n"
    )
    command = [sys.executable, "-m", "tracker", "run", "--", sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "got it\n"
        assert process.wait(60) == 5


def test_closed_pipes_are_fatal_to_the_command_again(start: Start) -> None:
    """Python ignores SIGPIPE; the command gets it back, so that ``yes | head`` inside it ends."""
    done = start("run", "--", "sh", "-c", "trap - PIPE; yes | head -1; yes | head -1 >/dev/null; echo done")

    assert done.stdout == "y\ndone\n"
    assert "Broken pipe" not in done.stderr


def test_json_tells_what_is_set(start: Start) -> None:
    """``--json`` tells on stderr what is started; stdout stays the command's."""
    done = start("run", "--json", "-a", "x=a=b", "--name", "n", "--", "echo", "out")

    assert done.stdout == "out\n"
    expected = {"HINDSIGHT_KWARGS": '{"x": "a=b"}', "HINDSIGHT_NAME": "n"}
    assert json.loads(done.stderr) == {"command": ["echo", "out"], "variables": expected}


def test_nested_runs_add_arguments(start: Start) -> None:
    """An inner ``hindsight run`` adds to the values of the outer one, and wins."""
    inner = [sys.executable, "-m", "tracker", "run", "-a", "b=3", "--", "sh", "-c", "echo $HINDSIGHT_KWARGS"]

    done = start("run", "-a", "a=1", "-a", "b=2", "--", *inner)

    assert json.loads(done.stdout) == {"a": "1", "b": "3"}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("-a", "lr", "--", "ls"), 2, "expected NAME=VALUE"),
        (("-a", "=5", "--", "ls"), 2, "expected NAME=VALUE"),
        (("--", "no-such-command"), 127, "'no-such-command' cannot be run"),
        (("--", "./train.py"), 126, "hindsight run -- python ./train.py"),
        ((), 2, "--help"),
    ],
)
def test_what_cannot_be_run(start: Start, tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    """What cannot be started is told in one line, with the exit codes that a shell uses."""
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "train.py").chmod(0o644)

    done = start("run", *words, cwd=tmp_path)

    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_damaged_outer_arguments(hindsight: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is no JSON is named before anything starts."""
    monkeypatch.setenv("HINDSIGHT_KWARGS", "lr=1")

    ended = hindsight("run", "-a", "a=1", "--", "no-such-command")

    assert ended.code == 2
    assert "HINDSIGHT_KWARGS" in ended.err
