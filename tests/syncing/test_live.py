"""Synchronisation while runs write, and after they were killed: every record once, and no more than there is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tracker
from tests.syncing.stores import contents, open_run, sound
from tracker.record.shipping import Shipper
from tracker.store import keys
from tracker.store.base import Info, Store
from tracker.store.local import LocalStore
from tracker.store.open import open_store
from tracker.store.recovery import recover
from tracker.syncing.stores import sync

WRITER = """
import sys, time, tracker
tracker.init(store=sys.argv[1], project="sync", capture=(), journal_bytes=65536, heartbeat_s=0.2)
for step in tracker.loop("step", range(int(sys.argv[2]))):
    tracker.log("loss", step / 2)
    if step % 500 == 499:
        print(step, flush=True)
        time.sleep(0.01)
print("logged", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def target(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "target")


def steps(store: Store | Path) -> list[int]:
    """The steps that were logged, in the order in which they are read."""
    return [int(step) for step in tracker.dataframe("loss", store=store)["step"]]


def status(store: Store | Path) -> str:
    """How the one run of a store stands."""
    (run,) = tracker.runs(store=store)
    return run.status


def journals(store: Store) -> list[str]:
    """The keys of journals in a store."""
    return [info.key for info in store.list() if info.key.endswith(".journal")]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that logs 20,000 steps and then waits to be told to end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HINDSIGHT_")}
    command = [sys.executable, "-c", WRITER, str(tmp_path / "source"), "20000"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as process:
        yield process
        process.kill()


def until(process: subprocess.Popen[str], word: str) -> None:
    """Wait for a line of a process."""
    assert process.stdout is not None
    assert any(line.strip() == word for line in process.stdout)


def test_a_run_that_goes_on_arrives_as_it_stands(tmp_path: Path, target: Store) -> None:
    """Its records so far, its sign of life, and no journal; then the rest, and its end."""
    with open_run(tmp_path / "source"):
        for step in tracker.loop("step", range(100)):
            tracker.log("loss", step)
            if step in {30, 60}:
                summary = sync(tmp_path / "source", target)
                assert steps(target) == list(range(step + 1))
                assert (len(summary.live), status(target)) == (1, "running")
                assert not journals(target)
                assert sound(target)

    summary = sync(tmp_path / "source", target)

    assert (summary.live, status(target)) == ([], "finished")
    assert contents(target) == contents(open_store(tmp_path / "source"))


def test_nothing_new_is_nothing_to_do(tmp_path: Path, target: Store) -> None:
    """A run that waits costs no more than its sign of life."""
    with open_run(tmp_path / "source", heartbeat_s=3600):
        tracker.log("loss", 1)
        sync(tmp_path / "source", target)

        assert sync(tmp_path / "source", target).keys == 0


def test_a_run_that_says_nothing_goes_on(tmp_path: Path, target: Store) -> None:
    """Who waits for its end does not take its silence for one, and learns when there is no sign of life any more."""
    with open_run(tmp_path / "source", heartbeat_s=3600) as run:
        assert [sync(tmp_path / "source", target).live for _ in range(3)] == [[run.id]] * 3

    assert sync(tmp_path / "source", target).live == []


def test_what_a_run_publishes_itself_is_not_told_twice(tmp_path: Path, target: Store) -> None:
    """Commits of the run fall between synchronisations of three kinds: from here, from elsewhere, and forgetful."""
    source = tmp_path / "source"
    with open_run(source):
        for step in tracker.loop("step", range(60)):
            tracker.log("loss", step)
            if step % 7 == 3:
                tracker.commit()
            if step % 5 == 0:
                sync(source, target, full=step % 10 == 0, records=tmp_path / f"records{step % 3}")
                assert steps(target) == list(range(step + 1))
                assert sound(target)
    sync(source, target)

    assert steps(target) == list(range(60))
    assert sound(target)


def test_what_comes_back_changes_nothing(tmp_path: Path, target: Store) -> None:
    """Copied back into the store in which the run goes on, its records are still told once."""
    source = tmp_path / "source"
    with open_run(source):
        for step in tracker.loop("step", range(30)):
            tracker.log("loss", step)
            if step % 6 == 0:
                sync(source, target)
                sync(target, source)
                assert steps(source) == list(range(step + 1))
    sync(source, target)
    sync(target, source)

    assert steps(source) == steps(target) == list(range(30))
    assert status(source) == "finished"


class Sealing(LocalStore):
    """A store whose run seals a journal in the middle of a listing: behind the place where its segment will stand."""

    before_journals: list[Callable[[], object]]

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[Info]:
        for info in super().list(prefix, after=after):
            yield info
            if info.key.endswith("/start.json") and self.before_journals:
                self.before_journals.pop(0)()


@pytest.mark.parametrize("listing", [0, 1, 2])
def test_what_is_sealed_in_the_middle_of_a_listing_arrives(
    listing: int, tmp_path: Path, target: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No later record comes without it."""
    seal_full = Shipper.seal_full
    monkeypatch.setattr(Shipper, "seal_full", lambda self, between=lambda: None: None)
    source = Sealing(tmp_path / "source")
    source.before_journals = []
    with open_run(tmp_path / "source", journal_bytes=65_536) as run:
        for step in tracker.loop("step", range(2000)):
            tracker.log("loss", step)
        first = journals(source)[0]
        source.before_journals = [*[lambda: None] * listing, lambda: run.shipper._seal_next()]

        sync(source, target)

        left = bool(source.before_journals)  # only what vanishes leads to a third listing
        source.before_journals = []
        assert (first in journals(source)) == left == (listing == 2)
        found = steps(target)
        assert found == list(range(len(found)))
        assert len(found) > 1900
        monkeypatch.setattr(Shipper, "seal_full", seal_full)
    sync(source, target)
    assert steps(target) == list(range(2000))


def test_beside_a_busy_writer_no_record_is_missed_or_doubled(
    tmp_path: Path, target: Store, writer: subprocess.Popen[str]
) -> None:
    """Journals fill, are sealed and vanish meanwhile; what is read is always a beginning of what is written."""
    until(writer, "499")
    seen = [0]
    while seen[-1] < 19_000:
        sync(tmp_path / "source", target)
        found = steps(target)
        assert found == list(range(len(found)))
        seen.append(len(found))
    until(writer, "logged")
    writer.communicate("")
    sync(tmp_path / "source", target)

    assert steps(target) == list(range(20_000))
    assert status(target) == "finished"
    assert sound(target)
    assert contents(target) == contents(open_store(tmp_path / "source"))


def test_a_killed_run_arrives_whole(tmp_path: Path, target: Store, writer: subprocess.Popen[str]) -> None:
    """Also before anybody has recovered it, and once more after that."""
    until(writer, "logged")
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    source = open_store(tmp_path / "source")

    sync(source, target)

    assert steps(target) == list(range(20_000))
    assert status(target) == "killed"
    recover(source, source)
    assert sync(source, target).complete
    assert steps(target) == list(range(20_000))
    assert contents(target).keys() - contents(source).keys() == set()


def test_an_end_waits_for_the_last_records(tmp_path: Path, target: Store) -> None:
    """While a journal of an attempt is open, its end is not shown to have come."""
    source = open_store(tmp_path / "source")
    with open_run(tmp_path / "source") as run:
        tracker.log("loss", 1)
        end = keys.attempt_document(run.id, run.attempt, "end")
        source.put(end, b'{"status": "finished", "ended": 1.0}')
        sync(source, target)
        assert end not in contents(target)

    sync(source, target)

    assert contents(target)[end] == source.get(end)


def test_leftovers_of_open_journals_are_removed(tmp_path: Path, target: Store) -> None:
    """Of many publications of one journal the last one stays; segments that others brought are not touched."""
    assert isinstance(target, LocalStore)
    with open_run(tmp_path / "source") as run:
        for step in tracker.loop("step", range(20)):
            tracker.log("loss", step)
            sync(tmp_path / "source", target)

        assert len([info for info in target.list(keys.data_folder(run.id))]) == 1


def test_watching_follows_a_run_to_its_end(tmp_path: Path, target: Store, writer: subprocess.Popen[str]) -> None:
    """The command goes on while a run does, and ends after it with everything in the target."""
    assert isinstance(target, LocalStore)
    until(writer, "499")
    words = ["sync", str(tmp_path / "source"), str(target.root), "--watch", "--until-ended", "--every", "0.1"]
    with subprocess.Popen([sys.executable, "-m", "tracker", *words], cwd=tmp_path) as watching:
        deadline = time.monotonic() + 120
        while not target.folders(keys.RUNS) and time.monotonic() < deadline:
            time.sleep(0.05)
        until(writer, "logged")
        writer.communicate("")

        assert watching.wait(120) == 0

    assert steps(target) == list(range(20_000))
    assert status(target) == "finished"
