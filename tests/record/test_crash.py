"""Killed writers: nothing that was acknowledged is lost, all that is committed is read, once, also after recovery."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.record import crashing, reading
from tests.record.scripts import read, run_script
from tracker.config import Settings
from tracker.record.spool import spool_for
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.open import open_store
from tracker.store.recovery import recover

SCRIPT = Path(crashing.__file__)


def kill_writers(store: str, **plan: Any) -> list[dict[str, Any]]:
    """Run ``crashing`` and return what it tells of each writer."""
    told = json.dumps({"store": store, "most": 3000, "seed": 1} | plan)
    done = subprocess.run([sys.executable, SCRIPT, told], capture_output=True, text=True, timeout=280, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_records(store: Store, run: str, acked: int, *, most: int | None = None) -> int:
    """Every record from the first to at least the last acknowledged one is there once, exact, in its place."""
    found = {}
    for cell in reading.cells(store, run):
        number = _number(cell.value)
        assert number not in found, f"record {number} was read twice"
        found[number] = cell
    assert sorted(found) == list(range(len(found)))
    assert acked <= len(found) <= (acked + 1 if most is None else most)
    for number, cell in found.items():
        name, value, labels, _ = crashing.expected(number)
        assert (cell.metric, cell.value) == (reading.identity(name, labels), value)
        assert cell.place == crashing.place(number)
    return len(found)


def _number(value: Any) -> int:
    if isinstance(value, dict):
        return int(value["number"])
    if isinstance(value, str):
        return int(value.split()[0])
    return value - (1 << 70) if value > 1 << 60 else int(value)


def check_killed(told: dict[str, Any]) -> None:
    """The run of a killed writer before its recovery, after it, and after another one."""
    if told["run"] is None:
        assert told["acked"] == 0
        return
    store = open_store(told["store"], create=False)
    before = check_records(store, told["run"], told["acked"])

    first, second = (recover(store, store, run=told["run"]) for _ in range(2))

    assert (first.problems, first.dropped_bytes, second.journals) == ({}, 0, [])
    assert first.records <= before
    assert not list(store.list(keys.journal_folder(told["run"])))
    assert check_records(store, told["run"], told["acked"]) == before


QUICK = [pytest.param(8, id="quick"), pytest.param(110, id="full", marks=pytest.mark.slow)]


@pytest.mark.parametrize("writers", QUICK)
@pytest.mark.parametrize("journal_bytes", [16 << 10, 8 << 20], ids=["rolling", "one journal"])
def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path, writers: int, journal_bytes: int) -> None:
    """Killed at a random moment, also while journals change and are sealed: all records are there, before and after."""
    told = kill_writers(
        f"{tmp_path}/store", own_stores=True, writers=writers, settings={"journal_bytes": journal_bytes}
    )

    assert len(told) == writers
    for each in told:
        assert each["status"] == -9
        check_killed(each)


@pytest.mark.parametrize("writers", QUICK)
def test_sigkill_loses_nothing_on_its_way_to_a_remote_store(tmp_path: Path, writers: int) -> None:
    """Journals wait in the spool; what was flushed and what was not are both there, once, after the recovery."""
    url, spool_root = f"dir::file://{tmp_path}/far", tmp_path / "spool"
    few = {"journal_bytes": 32 << 10, "flush_interval_s": 0.01, "spool": str(spool_root)}

    told = kill_writers(url, writers=writers, most=8000, settings=few)

    store = open_store(url)
    recovered = recover(store, spool_for(store, Settings(spool=str(spool_root))))
    assert recovered.problems == {}
    for each in told:
        if each["run"] is not None:
            check_records(store, each["run"], each["acked"])
    assert not list(spool_root.glob("*/runs/*/journal/[!.]*.journal"))


def test_sigterm_kills_by_the_signal_and_loses_nothing(tmp_path: Path) -> None:
    """The default action of SIGTERM stays: the process dies by it, and all records are there."""
    told = kill_writers(f"{tmp_path}/store", writers=2, own_stores=True, signal="SIGTERM")

    for each in told:
        assert each["status"] == -15
        check_killed(each)


RECOVER = """
import json, sys
from tracker.store.open import open_store
from tracker.store.recovery import recover
store = open_store(sys.argv[1])
print(flush=True)
report = recover(store, store)
assert not report.problems, report.problems
"""


def killed_store(folder: Path, *, writers: int = 1) -> tuple[Store, list[dict[str, Any]]]:
    """A store in which writers died with several journals each, after some thousand records."""
    settings = {"journal_bytes": 16 << 10}
    told = kill_writers(f"{folder}/store", writers=writers, most=6000, seed=3, settings=settings)
    return open_store(f"{folder}/store"), [each for each in told if each["run"]]


@pytest.mark.parametrize("kills", [pytest.param(4, id="quick"), pytest.param(40, id="full", marks=pytest.mark.slow)])
def test_a_recovery_that_is_killed_is_done_again(tmp_path: Path, kills: int) -> None:
    """Recoveries die at random moments; nothing is lost or doubled, and the last one finishes."""
    store, told = killed_store(tmp_path, writers=3)
    chance = random.Random(5)
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", RECOVER, store.url], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.2)
        process.kill()
        process.communicate()
        for each in told:
            check_records(store, each["run"], each["acked"])

    for each in told:
        check_killed(each | {"store": store.url})


def test_recoveries_at_once_keep_out_of_each_others_way(tmp_path: Path) -> None:
    """Four processes recover the same store: each journal is sealed once and nothing is lost."""
    store, told = killed_store(tmp_path, writers=3)

    together = [subprocess.Popen([sys.executable, "-c", RECOVER, store.url]) for _ in range(4)]

    assert [process.wait(60) for process in together] == [0, 0, 0, 0]
    for each in told:
        check_killed(each | {"store": store.url})


def test_a_killed_run_keeps_arguments_and_results_of_sealed_journals(tmp_path: Path) -> None:
    """What was logged outside loops long before the kill still stands in the recovered end."""
    done = run_script(
        tmp_path,
        """
        import os, signal, tracker
        tracker.init(journal_bytes=4096)
        tracker.arg("lr", 0.25)
        tracker.log("score", float("nan"))
        for step in tracker.loop("step", range(5000)):
            tracker.log("loss", step)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    store = open_store(done.store)

    recover(store, store)

    view = done.run()
    assert (done.code, view.status, view.arguments) == (-9, "killed", {"lr": 0.25})
    assert math.isnan(view.summary["score"])
    assert read(done, "loss") == list(range(5000))
