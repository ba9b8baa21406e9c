"""What README.md says is true: its Python runs, its commands and settings exist, its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import tracker
from tracker.config import Settings
from tracker.errors import UnstorableValue

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
ADDED = re.findall(r"^[ +](.*\n)", re.findall(r"^```diff\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[0], re.MULTILINE)
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with the README's training script, run twice with different arguments, then with its new statement."""
    (tmp_path / "train.py").write_text(BLOCKS[0])
    for words in ([], ["--kwargs", "lr=0.3"]):
        _python(tmp_path, "train.py", *words)
    assert BLOCKS[0].count(ADDED[0]) == 1
    (tmp_path / "train.py").write_text(BLOCKS[0].replace(ADDED[0], "".join(ADDED)))
    return tmp_path


def _python(folder: Path, *words: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HINDSIGHT_")}
    kept["HINDSIGHT_CHECKPOINTS"] = "all"  # the loops are too short for them
    command = [sys.executable, "-W", "error", *words]
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_training_script(folder: Path) -> None:
    """The example that records is about twenty lines, and records what the text says."""
    assert BLOCKS[0].startswith("# train.py\n")
    assert len(BLOCKS[0].splitlines()) <= 25
    runs = tracker.runs(store=folder / ".hindsight")
    assert [run.arguments["lr"] for run in runs] == [0.05, 0.3]
    assert len(tracker.dataframe("loss", store=folder / ".hindsight")) == 2 * 3 * 21


@pytest.mark.parametrize("number", range(1, len(BLOCKS)))
def test_reading_examples(folder: Path, number: int) -> None:
    """Every example that reads runs in a fresh process and prints something."""
    assert _python(folder, "-c", BLOCKS[number]).strip()


def test_past_runs_answer(folder: Path) -> None:
    """The statement that is added to the script is answered by all runs, exactly, on the command line."""
    said = _python(folder, "-m", "tracker", "replay", ADDED[1].split('"')[1], "--json")

    assert '"state":"exact"' in said.replace(" ", "")
    frame = tracker.dataframe("slope", "distance", "fidelity", store=folder / ".hindsight")
    assert (frame["distance"] == (frame["slope"] - 3).abs()).all()
    assert frame["fidelity"].tolist() == ["exact"] * 6


def test_parquet_needs_nothing_of_ours(folder: Path) -> None:
    """The SQL over the files works in plain DuckDB."""
    duckdb = pytest.importorskip("duckdb")
    (query,) = re.findall(r"^```sql\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)

    rows = duckdb.sql(query.replace(".hindsight", str(folder / ".hindsight"))).fetchall()

    assert len(rows) == 2 * 3 * 21


def test_settings_are_complete() -> None:
    """The table of settings names each of them, and no other."""
    table = TEXT.partition("## Settings")[2].partition("## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(Settings.__struct_fields__)
    assert {field.name for field in msgspec.structs.fields(Settings)} == set(Settings.__struct_fields__)


def test_sizes_of_settings_are_the_defaults() -> None:
    """Where the table of settings names a size, it is the default."""
    units = {"MiB": 1 << 20, "GiB": 1 << 30}
    rows = re.findall(r"^\| `(\w+)` \| (\d+) ([MG]iB) \|", TEXT, re.MULTILINE)

    assert len(rows) == 6
    assert {name: int(number) * units[unit] for name, number, unit in rows} == {
        name: getattr(Settings(), name) for name, _, _ in rows
    }


def test_log_takes_what_is_said(tmp_path: Path) -> None:
    """Values of the named kinds are recorded; an array is refused with its shape."""
    with tracker.run(store=tmp_path / "s", capture=()):
        for value in (1, 0.5, True, "text", b"bytes", None, [1, {"a": None}], np.float32(0.5)):
            assert tracker.log("value", value) is value
        with pytest.raises(UnstorableValue, match=r"shape \(3,\)"):
            tracker.log("value", np.zeros(3))


THREADS = """
import contextvars, threading, tracker
def start(call, *args):
    thread = threading.Thread(target=call, args=args)
    thread.start()
    thread.join()
for _ in tracker.loop("epoch", range(1)):
    start(tracker.log, "outside", 1)
    start(contextvars.copy_context().run, tracker.log, "inside", 1)
"""


def test_threads_stand_where_is_said(tmp_path: Path) -> None:
    """A thread logs at the run's level, and in a copy of the context where that was made."""
    _python(tmp_path, "-c", THREADS)

    assert "epoch" not in tracker.dataframe("outside", store=tmp_path / ".hindsight")
    assert "epoch" in tracker.dataframe("inside", store=tmp_path / ".hindsight")


def test_newest_records_are_in_files_after_commit(tmp_path: Path) -> None:
    """Our readers see a running run's records at once, plain Parquet readers after ``commit``."""
    with tracker.run(store=tmp_path / "s", capture=()):
        tracker.log("x", 1)
        assert (len(tracker.dataframe("x")), list(tmp_path.rglob("*.parquet"))) == (1, [])
        tracker.commit()
        assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_public_names_are_shown() -> None:
    """Every public function is mentioned."""
    for name in tracker.__all__:
        assert name == "__version__" or f"{name}(" in TEXT


def test_commands_exist() -> None:
    """Every command that is mentioned is one, and every one is mentioned."""
    from tracker.cli.main import app

    mentioned = set(re.findall(r"(?:`|\$ |^)hindsight ([a-z]+)", TEXT, re.MULTILINE))

    assert mentioned == {command.name for command in app.registered_commands}


def test_links_lead_somewhere() -> None:
    """Every relative link is a file or folder of the repository."""
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
