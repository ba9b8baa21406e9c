"""Machines whose clocks are hours apart write into one store, and bring it elsewhere: nothing depends on the time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tracker
from tests.syncing.stores import contents, sound
from tracker.store.open import open_store
from tracker.syncing.stores import sync

HOURS = 3600
SHIFTED = """
import os, time
_time, _time_ns, _shift = time.time, time.time_ns, int(os.environ.get("SHIFT_S", "0"))
time.time = lambda: _time() + _shift
time.time_ns = lambda: _time_ns() + _shift * 10**9
"""
ATTEMPT = """
import os, sys
import tracker
begin, end, last = map(int, sys.argv[1:])
tracker.init(store="store", launch_key="a launch", capture=())
for epoch in tracker.loop("epoch", range(begin, end)):
    tracker.log("loss", epoch + last)
tracker.commit()
if not last:
    os.kill(os.getpid(), 9)
"""
SYNC = "import sys; from tracker.syncing.stores import sync; print(sync(*sys.argv[1:]).keys)"


@pytest.fixture(autouse=True)
def _clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(SHIFTED)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(folder: Path, shift_s: int, code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a program whose clock is ahead by so many seconds."""
    variables = os.environ | {"SHIFT_S": str(shift_s), "PYTHONPATH": str(folder / "clock")}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=variables, text=True, capture_output=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize(("first_s", "second_s"), [(5 * HOURS, -5 * HOURS), (-5 * HOURS, 5 * HOURS)])
def test_a_run_goes_on_where_the_clock_is_another(tmp_path: Path, first_s: int, second_s: int) -> None:
    """The second attempt supersedes the first, also when its clock is hours behind."""
    assert run(tmp_path, first_s, ATTEMPT, 0, 6, 0).returncode == -signal.SIGKILL
    assert run(tmp_path, second_s, ATTEMPT, 3, 8, 100).returncode == 0

    (found,) = tracker.runs(store=tmp_path / "store")
    assert found.status == "finished"
    frame = tracker.dataframe("loss", store=tmp_path / "store")
    assert frame["loss"].tolist() == [0, 1, 2, 103, 104, 105, 106, 107]


@pytest.mark.slow
def test_stores_are_brought_over_by_clocks_that_disagree(tmp_path: Path) -> None:
    """Ahead, behind, and ahead again: every sync brings exactly what is new, and the target is whole."""
    source, target = tmp_path / "store", tmp_path / "target"
    moments = [(5 * HOURS, -5 * HOURS), (-5 * HOURS, 5 * HOURS), (0, 0)]
    for number, (writer_s, reader_s) in enumerate(moments):
        code = ATTEMPT.replace("a launch", f"launch {number}")
        assert run(tmp_path, writer_s, code, 0, 4, 1).returncode == 0

        brought = run(tmp_path, reader_s, SYNC, source, target)
        again = run(tmp_path, -reader_s, SYNC, source, target)

        assert int(brought.stdout) > 0, brought
        assert int(again.stdout) == 0, again
        assert contents(open_store(target)) == contents(open_store(source))
    assert sound(open_store(target))
    assert len(tracker.runs(store=target)) == 3


@pytest.mark.slow
def test_a_live_run_whose_clock_is_behind_is_followed(tmp_path: Path) -> None:
    """What it has logged arrives while it goes on, and its end afterwards."""
    code = ATTEMPT.replace("if not last", "print('logged', flush=True)\nsys.stdin.readline()\nif not last")
    variables = os.environ | {"SHIFT_S": str(-5 * HOURS), "PYTHONPATH": str(tmp_path / "clock")}
    with subprocess.Popen(
        [sys.executable, "-c", code, "0", "4", "1"], cwd=tmp_path, env=variables, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
        summary = sync(tmp_path / "store", tmp_path / "target")
        assert len(summary.live) == 1
        assert tracker.dataframe("loss", store=tmp_path / "target")["loss"].tolist() == [1, 2, 3, 4]
        process.communicate("\n", timeout=120)

    sync(tmp_path / "store", tmp_path / "target")

    assert tracker.runs(store=tmp_path / "target")[0].status == "finished"
    assert contents(open_store(tmp_path / "target")) == contents(open_store(tmp_path / "store"))
