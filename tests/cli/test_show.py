"""``hindsight show``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cli.calling import Call


def test_sections(hindsight: Call, store: Path, ids: list[str]) -> None:
    """Identity, arguments, results and loops of a finished run are shown."""
    shown = hindsight("show", ids[0][-8:], "--store", store).out

    assert shown.startswith(f"run {ids[0][-8:]} · digits · finished\n")
    for text in (ids[0], "slow", "lr      0.01", "best   0.75", "limit  -∞", "epoch.step"):
        assert text in shown
    assert "error" not in shown


def test_failure_with_its_traceback(hindsight: Call, store: Path) -> None:
    """The latest run is shown without asking; a failed one with the traceback that ended it."""
    shown = hindsight("show", "--store", store).out

    assert "failed" in shown.splitlines()[0]
    assert "  ValueError: no data left" in shown
    assert 'raise ValueError("no data left")' in shown


def test_json_has_the_documents(hindsight: Call, store: Path, ids: list[str]) -> None:
    """JSON holds what ``runs`` says, and the attempts with their documents as the store has them."""
    document = hindsight("show", "latest", "--store", store, "--json").json

    assert (document["run"], document["store"]) == (ids[2], str(store))
    (attempt,) = document["attempts"]
    assert list(attempt) == ["attempt", "number", "status", "started", "ended", "start", "code", "end"]
    assert attempt["end"]["error"] == "ValueError: no data left"
    assert document["output"] == {"lines": [], "total": 0, "more": 0}


def test_unknown_and_ambiguous_runs(hindsight: Call, store: Path, ids: list[str]) -> None:
    """A run that is not there, or not the only one, is named in the error."""
    assert hindsight("show", "zzz", "--store", store).code == 1
    ambiguous = hindsight("show", ids[0][:4], "--store", store)
    assert ambiguous.code == 1
    assert "is not unique: 3 runs match" in ambiguous.err


def test_output_of_a_script(hindsight: Call, tmp_path: Path) -> None:
    """The last lines of what a script printed are shown, all with ``--output``, and nothing steers the terminal."""
    script = "import tracker\ntracker.log('a', 1)\nfor i in range(30):\n    print('line', i)\n"
    script += "print('red \\x1b]0;title\\x07')\n"
    (tmp_path / "job.py").write_text(script)
    command = [sys.executable, "job.py"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    store = tmp_path / ".hindsight"

    shown = hindsight("show", "--store", store).out
    assert "output (last 10 lines)" in shown
    assert "21 more: hindsight show" in shown
    everything = hindsight("show", "--store", store, "--output").out
    assert everything.splitlines()[:30] == [f"line {i}" for i in range(30)]
    assert "\x1b" not in shown + everything
    lines = hindsight("show", "--store", store, "--json", "--lines", "2").json["output"]
    assert (lines["total"], lines["more"], lines["lines"][0]["text"]) == (31, 29, "line 29")
    assert lines["lines"][0]["stream"] == "stdout"
