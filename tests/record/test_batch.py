"""Processes with the environment of a Slurm job: whose runs they are. tests/slurm has the real thing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import tracker
from tests import servers
from tests.s3.proxy import proxy_to
from tracker.read.catalog import RunView, scan
from tracker.store.keys import launch_document
from tracker.store.open import open_store
from tracker.upkeep.compaction import compact

SCRIPT = """
import os, sys, time, tracker
from tracker.decorators import tracked

@tracked
def work():
    tracker.log("seen", int(os.environ.get("SLURM_PROCID", 0)), rank=os.environ.get("SLURM_PROCID", "none"))

@tracked
def resuming():
    with tracker.checkpointing(weights=[0.0], resume=True):
        for epoch in tracker.loop("epoch", range(2)):
            tracker.log("loss", epoch)

def fail():
    if "tracked" not in sys.argv:
        tracker.log("before", 1)
    if os.environ["SLURM_PROCID"] == "1":
        while not os.path.exists("go"):
            time.sleep(0.02)
        sys.exit(3) if "exit" in sys.argv else int("no number")

if "fail" in sys.argv:
    tracked(fail)() if "tracked" in sys.argv else fail()
    sys.exit()
if "resume" in sys.argv:
    resuming()
if "log" in sys.argv:
    tracker.log("first", 1)
if "init" in sys.argv:
    tracker.init(project="another")
work()
"""
STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
JOB = {"SLURM_JOB_ID": "7", "SLURM_CLUSTER_NAME": "lab"}


def start(folder: Path, *words: str, **environment: str) -> subprocess.Popen[bytes]:
    """The script, in a process of its own."""
    (folder / "script.py").write_text(SCRIPT)
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("SLURM_", "HINDSIGHT_"))}
    own = {"HINDSIGHT_STORE": str(folder / "store"), "HINDSIGHT_CAPTURE": "", **JOB}
    return subprocess.Popen([sys.executable, "script.py", *words], cwd=folder, env=kept | own | environment)


def runs(folder: Path) -> list[RunView]:
    """The runs of the store."""
    return scan(open_store(folder / "store", create=False))


@pytest.mark.parametrize("words", [(), ("log",), ("init",)])
def test_ranks_that_start_at_once_are_one_run(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Whoever is first, and whether the function, a log or ``init`` begins it."""
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "3"}
    processes = [start(tmp_path, *words, **step, SLURM_PROCID=str(rank)) for rank in range(3)]

    assert [process.wait(120) for process in processes] == [0, 0, 0]
    (run,) = runs(tmp_path)
    assert (run.status, len(run.attempts)) == ("finished", 1)
    frame = tracker.dataframe("seen", store=tmp_path / "store")
    assert sorted(frame[name].dropna().item() for name in frame.columns if name.startswith("seen")) == [0, 1, 2]


def test_the_nth_process_of_every_try_is_one_run(tmp_path: Path) -> None:
    """Command lines that are equal are counted; another one, and another job, are runs of their own."""
    for environment in ({}, {"SLURM_RESTART_COUNT": "1"}):
        for words in ((), (), ("log",)):
            assert start(tmp_path, *words, **environment).wait(120) == 0
    assert start(tmp_path, SLURM_JOB_ID="8").wait(120) == 0

    assert [len(run.attempts) for run in runs(tmp_path)] == [2, 2, 2, 1]


def test_an_identity_that_the_user_gives_comes_first(tmp_path: Path) -> None:
    """Also over jobs, and for tasks of one step that have nothing to do with each other."""
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    for rank, words in (("0", ["log"]), ("1", [])):
        assert start(tmp_path, *words, **step, SLURM_PROCID=rank, HINDSIGHT_RUN_ID=f"mine-{rank}").wait(120) == 0

    assert sorted(run.document.launch_key or "" for run in runs(tmp_path)) == ["id/mine-0", "id/mine-1"]
    assert [run.status for run in runs(tmp_path)] == ["finished", "finished"]


def test_ranks_do_not_resume_from_the_state_of_one(tmp_path: Path) -> None:
    """Every rank is told so in its first try; a single process resumes."""
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    ranks = [start(tmp_path, "resume", **step, SLURM_PROCID=str(rank)) for rank in range(2)]
    assert [process.wait(120) for process in ranks] == [1, 1]
    (run,) = runs(tmp_path)
    end = run.attempts[0].end
    assert end is not None
    assert "several ranks" in (end.error or "")

    assert start(tmp_path, "resume", SLURM_JOB_ID="8").wait(120) == 0


def remote(server: servers.Server, url: str, folder: Path) -> dict[str, str]:
    """The environment of a process that records there."""
    return {"HINDSIGHT_STORE": url, "HINDSIGHT_SPOOL": str(folder / "spool"), **server.environment()}


def wait_for_claim(folder: Path, launch_key: str, process: subprocess.Popen[bytes]) -> None:
    """Return when something has claimed this in the spool."""
    deadline = time.monotonic() + 240
    while not list(folder.glob(f"spool/*/{launch_document(launch_key)}")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.s3
def test_a_store_that_comes_back_between_two_processes_keeps_them_apart(
    moto_server: servers.Server, bucket: str, tmp_path: Path
) -> None:
    """The second script of a job, and a rank that an outage keeps from the first one, which has none."""
    url = f"s3://{bucket}/{tmp_path.name}"
    with proxy_to(moto_server.endpoint) as proxy:
        own = remote(replace(moto_server, endpoint=proxy.endpoint), url, tmp_path)
        assert start(tmp_path, **own, **STEP, SLURM_PROCID="0", SLURM_JOB_ID="8").wait(240) == 0
        proxy.fail_from(0)
        scripts = [start(tmp_path, **own), start(tmp_path, **own, **STEP, SLURM_PROCID="1", SLURM_JOB_ID="8")]
        assert [process.wait(240) for process in scripts] == [0, 0]
        proxy.come_back()
        for environment in ({}, {"SLURM_RESTART_COUNT": "1"}, {"SLURM_RESTART_COUNT": "1"}):
            assert start(tmp_path, **own, **environment).wait(240) == 0

    found = scan(open_store(url, storage_options=moto_server.options()))
    told = sorted((run.document.launch_key or "", [attempt.status for attempt in run.attempts]) for run in found)
    keys = [key.split("/", 2)[2] for key, _ in told]
    assert [key for key in keys if key.startswith("8")] == ["8/0", "8/0/1"]
    assert [key.endswith("#2") for key in keys if key.startswith("7")] == [False, True]
    assert [statuses for _, statuses in told] == [["finished"] * 2] * 2 + [["finished"]] * 2
    assert list(tmp_path.glob("spool/*/launches/*")) == []


@pytest.mark.s3
def test_ranks_and_requeues_keep_their_identity_while_the_store_is_away(
    moto_server: servers.Server, bucket: str, tmp_path: Path
) -> None:
    """They agree through the spool; what waited there is in one run once the store is back."""
    url = f"s3://{bucket}/{tmp_path.name}"

    def run_ranks(server: servers.Server, restarts: int) -> None:
        own = {**remote(server, url, tmp_path), **STEP, "SLURM_RESTART_COUNT": str(restarts)}
        first = start(tmp_path, "log", **own, SLURM_PROCID="0")
        if restarts < 2:
            wait_for_claim(tmp_path, f"slurm/lab/7/0@{restarts}", first)
        other = start(tmp_path, "log", **own, SLURM_PROCID="1")
        assert [process.wait(240) for process in (first, other)] == [0, 0]

    with proxy_to(moto_server.endpoint) as proxy:
        server = replace(moto_server, endpoint=proxy.endpoint)
        proxy.fail_from(0)
        for restarts in (0, 1):
            run_ranks(server, restarts)
        proxy.come_back()
        run_ranks(server, 2)

    store = open_store(url, storage_options=moto_server.options())
    (run,) = scan(store)
    told = [attempt.start.orchestrator.get("restarts", 0) for attempt in run.attempts if attempt.start is not None]
    assert told == [0, 1, 2]
    assert [attempt.status for attempt in run.attempts] == ["finished"] * 3
    frame = tracker.dataframe("first", store=store, attempts="all")
    assert len(frame) == 6


@pytest.mark.parametrize("words", [("fail", "tracked"), ("fail",), ("fail", "exit")])
def test_a_run_of_which_one_rank_fails_has_failed(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Also when the first rank has finished long before, and an index tells so already."""
    ranks = [start(tmp_path, *words, **STEP, SLURM_PROCID=str(rank)) for rank in (0, 1)]
    assert ranks[0].wait(120) == 0
    store = open_store(tmp_path / "store")
    settled = compact(store)
    assert "tracked" not in words or settled.open == 0  # nothing was logged, so no journal waits
    (tmp_path / "go").touch()
    assert ranks[1].wait(120) != 0

    for _ in range(2):
        (run,) = runs(tmp_path)
        end = run.attempts[0].end
        assert end is not None
        told = "exit code 3" if "exit" in words else "ValueError: invalid literal"
        assert run.status == "failed"
        assert (end.error or "").startswith(f"rank 1: {told}")
        compact(store)
