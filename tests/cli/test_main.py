"""How the command begins, and how it ends when something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tracker
from tests.cli.calling import Call, Ended, Start, on_terminal
from tracker.cli import runs as runs_command


def test_version(hindsight: Call) -> None:
    """``--version`` names the program and its version."""
    assert hindsight("--version") == Ended(0, f"hindsight {tracker.__version__}\n", "")


def test_help_lists_every_command_and_the_exit_codes(hindsight: Call) -> None:
    """Without a command the help is shown, and nothing was done, which is wrong usage."""
    shown = hindsight()

    assert shown.code == 2
    commands = "runs show dataframe sql checkpoints replay diff checkout run demo recover verify doctor"
    for command in commands.split():
        assert f" {command} " in shown.out
    assert "Exit codes: 0 done" in shown.out
    assert hindsight("--help").out.strip() == shown.out.strip()


@pytest.mark.parametrize("words", [("frobnicate",), ("runs", "--stor"), ("show", "a", "b"), ("runs", "--limit", "few")])
def test_wrong_usage_is_one_line(hindsight: Call, words: tuple[str, ...]) -> None:
    """A slip on the command line gives one line with the way to the help, and exit code 2."""
    ended = hindsight(*words)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("hindsight: ")
    assert "--help` shows what can be given" in ended.err
    assert ended.err.count("\n") == 1


def test_help_imports_nothing_heavy() -> None:
    """``hindsight --help`` is quick, because what is heavy is imported by the commands that need it."""
    code = "import sys; from tracker.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(done.stderr.split())
    assert not loaded & {
        "torch",
        "pandas",
        "pyarrow",
        "numpy",
        "git",
        "fsspec",
        "duckdb",
        "matplotlib",
        "psutil",
        "libcst",
    }


def test_no_store_is_not_found(hindsight: Call, tmp_path: Path) -> None:
    """A store that is not there gives exit code 1 and says how one comes to be; none is created."""
    ended = hindsight("runs", "--store", tmp_path / "nowhere")

    assert ended.code == 1
    assert "there is no store at" in ended.err
    assert not (tmp_path / "nowhere").exists()


def test_newer_store_cannot_be_used(hindsight: Call, store: Path) -> None:
    """A store of a newer format gives exit code 3 and the way to upgrade."""
    document = json.loads((store / "format.json").read_text())
    (store / "format.json").write_text(json.dumps(document | {"format": 99}))

    ended = hindsight("runs", "--store", store)

    assert ended.code == 3
    assert "upgrade" in ended.err


def test_store_that_does_not_answer(hindsight: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A remote store behind a closed port gives exit code 3 within seconds, in one line."""
    options = {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9"}
    monkeypatch.setenv("HINDSIGHT_STORAGE_OPTIONS", json.dumps(options))

    ended = hindsight("runs", "--store", "s3://bucket/prefix")

    assert (ended.code, ended.out) == (3, "")
    assert ended.err.count("\n") == 1
    assert "127.0.0.1:9" in ended.err or "s3://bucket" in ended.err


def test_damage_is_a_line_and_its_neighbours_are_shown(hindsight: Call, store: Path, ids: list[str]) -> None:
    """A damaged document is named on stderr, and the other runs are listed."""
    (store / "runs" / ids[0] / "run.json").write_text("{")

    ended = hindsight("runs", "--store", store, "--json")

    assert [run["run"] for run in ended.json["runs"]] == ids[:0:-1]
    assert ended.err.startswith(f"hindsight: warning: left out runs/{ids[0]}/run.json")


def test_our_own_fault_is_told_without_a_traceback(
    hindsight: Call, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw ends with 70; its traceback is there for who asks."""

    def broken(*_: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(runs_command, "select", broken)

    plain, debugged = hindsight("runs", "--store", store), hindsight("runs", "--store", store, "--debug")

    assert plain.code == debugged.code == 70
    assert "Traceback" not in plain.err
    assert "KeyError: 'surprise'" in plain.err
    assert "Traceback" in debugged.err


def test_module_and_script_are_the_same(start: Start, store: Path) -> None:
    """``python -m tracker`` and ``hindsight`` give the same output and exit codes."""
    script = Path(sys.executable).with_name("hindsight")
    done = subprocess.run([script, "runs", "--store", store, "--json"], capture_output=True, text=True, timeout=120)

    assert done.stdout == start("runs", "--store", store, "--json").stdout
    assert start("show", "none", "--store", store).returncode == 1


def test_interrupt_is_quiet(store: Path) -> None:
    """Ctrl-C ends a command with 130 and without a traceback."""
    command = [sys.executable, "-m", "tracker", "sql", "-", "--store", str(store), "--debug"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(" " * 1_000_000)  # far more than a pipe holds: the command is reading once this returns
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)  # also ends a read that began just after the signal came

    assert (process.returncode, told) == (130, "")


@pytest.mark.parametrize("words", [("runs", "-n", "0"), ("dataframe", "loss", "--format", "csv"), ("runs", "--json")])
def test_closed_pipe_is_quiet(store: Path, words: tuple[str, ...]) -> None:
    """A reader that has had enough, such as ``head``, ends the command without a word."""
    command = [sys.executable, "-m", "tracker", *words, "--store", str(store)]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, "")


def test_colour_only_where_it_is_wanted(store: Path) -> None:
    """A terminal gets colour, unless NO_COLOR is set; a pipe never does."""
    words = ["runs", "--store", str(store)]

    assert "\x1b[" in on_terminal(*words)
    assert "\x1b[3" not in on_terminal(*words, NO_COLOR="1")
    piped = subprocess.run([sys.executable, "-m", "tracker", *words], capture_output=True, text=True, timeout=120)
    assert "\x1b" not in piped.stdout


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_tables_fit_the_terminal(store: Path, columns: int) -> None:
    """No line of a table is wider than the terminal; columns without room are named."""
    shown = on_terminal("runs", "--store", str(store), NO_COLOR="1", TERM="dumb", COLUMNS=str(columns), LINES="25")

    table = [line for line in shown.splitlines() if "finished" in line or "failed" in line]
    assert len(table) == 3
    assert max(map(len, table)) <= columns
    assert ("no room for" in shown) == (columns < 120)
