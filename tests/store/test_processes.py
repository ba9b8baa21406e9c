"""Who wrote something, whether it still lives, and what that says of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

import tracker
from tests.record import reading
from tests.store.journaling import journal_of
from tracker.store.documents import EndDocument, Lease
from tracker.store.leases import derive_status
from tracker.store.open import open_store
from tracker.store.processes import is_alive, is_visible, this_writer
from tracker.store.recovery import recover

NOW = 1_000_000.0
HOUR = 3600.0


def test_this_process_is_visible_and_alive() -> None:
    """And one with the same number that started at another time, or before the machine did, is not."""
    own = this_writer()

    assert is_visible(own)
    assert is_alive(own)
    assert not is_alive(structs.replace(own, started=own.started + 1))
    assert not is_alive(structs.replace(own, boot="another"))
    assert not is_visible(structs.replace(own, host="another"))
    assert not is_visible(structs.replace(own, namespace="pid:[1]"))


def test_a_process_that_nobody_has_waited_for_is_dead() -> None:
    """A zombie runs no more."""
    code = "from tracker.store.processes import this_writer as w; print(w().started)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    writer = structs.replace(this_writer(), pid=process.pid, started=float(process.stdout.readline()))
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert Path(f"/proc/{process.pid}").exists()
    assert not is_alive(writer)
    process.communicate()


def lease(age_s: float, **changes: object) -> Lease:
    """A lease that was renewed so long ago, by default of this process."""
    return Lease(writer=structs.replace(this_writer(), **changes), renewed=NOW - age_s, interval_s=10)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (None, "lost"),
        (lease(5), "running"),
        (lease(50_000), "running"),
        (lease(5, started=1.0), "killed"),
        (lease(5, boot="earlier"), "killed"),
        (lease(5, host="another"), "running"),
        (lease(59, host="another"), "running"),
        (lease(61, host="another"), "lost"),
        (lease(5, namespace="pid:[1]"), "running"),
        (lease(61, namespace="pid:[1]"), "lost"),
        (lease(-3600, host="another"), "running"),
    ],
)
def test_without_an_end_the_status_is_derived(found: Lease | None, status: str) -> None:
    """By the process where that can be seen, else by its last sign of life; clocks may differ."""
    assert derive_status(None, found, now=NOW) == status


@pytest.mark.parametrize(
    ("renewed_ago", "written_ago", "status"),
    [(5 * HOUR, 5, "running"), (-5 * HOUR, 61, "lost"), (5, 61, "lost"), (30 * HOUR, 5, "lost"), (61, None, "lost")],
)
def test_the_clock_of_the_store_says_when_a_lease_was_written(
    renewed_ago: float, written_ago: float | None, status: str
) -> None:
    """That of the writer may be hours apart; what it says to be older than a day was copied here."""
    written = None if written_ago is None else NOW - written_ago
    assert derive_status(None, lease(renewed_ago, host="another"), now=NOW, written=written) == status


def test_a_dead_attempt_that_a_batch_system_ended_was_preempted() -> None:
    """A note of it says nothing of one that lives."""
    alive, dead, lost = (
        structs.replace(each, interrupted=True) for each in (lease(5), lease(5, started=1.0), lease(61, host="x"))
    )

    assert [derive_status(None, each, now=NOW) for each in (alive, dead, lost)] == ["running", "preempted", "preempted"]


def test_the_end_says_more_than_any_lease() -> None:
    """A run that said how it ended has ended so."""
    assert derive_status(EndDocument(status="preempted", ended=NOW), lease(0), now=NOW) == "preempted"


def test_the_journal_of_a_live_writer_is_never_taken(tmp_path: Path) -> None:
    """Also where the process cannot be seen, as from another container: the lock says that it lives."""
    code = """
import sys
import tracker.store.processes as processes
processes._namespace = lambda: "pid:[1]"  # what a process in another container would see
from tracker.store.open import open_store
from tracker.store.recovery import recover
store = open_store(sys.argv[1])
print(recover(store, store).journals)
"""
    with tracker.run(store=tmp_path / "store", capture=()) as run:
        tracker.log("x", 1)
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "store"], capture_output=True, text=True, check=True
        )
        assert done.stdout == "[]\n"
        assert journal_of(run).exists()
        tracker.log("x", 2)

    assert reading.values(open_store(tmp_path / "store"), run.id, "x") == [1, 2]


def test_unfinished_journals_are_removed_when_they_are_old(tmp_path: Path) -> None:
    """A writer that was killed while it made one left nothing that could be read."""
    store = open_store(tmp_path / "store")
    with tracker.run(store=store.url, capture=()) as run:
        tracker.log("x", 1)
    folder = Path(store.url, "runs", run.id, "journal")
    folder.mkdir(exist_ok=True)
    for name, age_s in ((".tmp-old", 7200), (".tmp-new", 60)):
        (folder / name).write_bytes(bytes(4096))
        moment = (folder / name).stat().st_mtime - age_s
        os.utime(folder / name, (moment, moment))

    assert recover(store, store).problems == {}
    assert [path.name for path in folder.iterdir()] == [".tmp-new"]
