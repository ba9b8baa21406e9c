"""Reading beside a process that writes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import tracker
from tests.read.building import It, Logged, Writer, make_run
from tracker.errors import StoreUnavailable
from tracker.read.frame import dataframe
from tracker.read.reader import Reader
from tracker.read.select import runs
from tracker.read.source import LISTINGS, steadily
from tracker.store import keys, segments
from tracker.store.base import Store
from tracker.store.journals import Frames
from tracker.store.open import open_store

PROGRAM = """
import sys
import tracker

with tracker.run(store=sys.argv[1], capture=()):
    tracker.arg("lr", 0.5)
    tracker.log_many({"ready": 1, "loss": -1.0, "norm": -1.0})
    print("ready", flush=True)
    for step in tracker.loop("step", range(int(sys.argv[2]))):
        tracker.log("loss", float(step))
        tracker.log("norm", 2.0 * step)
    print("done", flush=True)
    sys.stdin.readline()
"""


def write_live(folder: Path, steps: int) -> subprocess.Popen[str]:
    """A process that logs without pause, says when it has begun, and ends after a line on its standard input."""
    command = [sys.executable, "-c", PROGRAM, str(folder), str(steps)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_growing_run_is_read_without_gaps_or_doubles(tmp_path: Path) -> None:
    """Through journals that fill, are sealed and removed while they are read: always a beginning of what was logged."""
    process = write_live(tmp_path / "store", 150_000)
    store = open_store(tmp_path / "store", create=False)
    lengths = []
    try:
        while not lengths or lengths[-1] < 150_000:
            frame = dataframe(store, "lr", "loss", "norm", "ready")
            if "step" not in frame:
                continue  # the loop has not begun
            frame = frame[frame["step"].notna()]
            lengths.append(len(frame))
            steps = frame["step"].to_numpy()
            assert (steps == range(len(frame))).all()
            assert (frame["loss"] == steps).all()
            assert (frame["norm"].iloc[:-1] == 2.0 * steps[:-1]).all()
            assert (frame["lr"] == 0.5).all()
        assert runs(store)[0].status == "running"
    finally:
        process.communicate("end\n")

    assert lengths == sorted(lengths)
    assert process.returncode == 0
    assert runs(store)[0].status == "finished"
    assert list(Reader(store).sql("select count(*) from step")) == [(150_000,)]


def test_what_is_logged_between_two_journals_of_a_listing_leaves_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next journal lies there before the open one is full; the writer may be in it when the reader comes to it."""
    read, steps = segments.read_journal, iter(range(10_000))

    def read_slowly(path: Path) -> Frames:
        found = read(path)
        for _ in range(100):
            tracker.log("step", next(steps))
        return found

    with tracker.run(store=tmp_path / "store", capture=(), journal_bytes=4096):
        for _ in range(500):
            tracker.log("step", next(steps))
        deadline = time.monotonic() + 10
        while len(list((tmp_path / "store").glob("runs/*/journal/*.journal"))) != 2 and time.monotonic() < deadline:
            time.sleep(0.01)  # the full ones are sealed, the open one and the next one stay
        monkeypatch.setattr(segments, "read_journal", read_slowly)
        values = dataframe(open_store(tmp_path / "store"), "step")["step"].tolist()
        monkeypatch.undo()

    assert len(values) >= 500
    assert values == list(range(len(values)))


def test_a_killed_run_is_read_completely(tmp_path: Path) -> None:
    """What was logged before SIGKILL is there, though nobody recovered it, and the run is not running for ever."""
    process = write_live(tmp_path / "store", 1000)
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"

    process.kill()
    process.communicate()
    store = open_store(tmp_path / "store", create=False)

    assert dataframe(store, "loss")["loss"].tolist() == [-1.0, *[float(n) for n in range(1000)]]
    view = runs(store)[0]
    assert view.status == "killed"
    assert view.arguments == {"lr": 0.5}
    assert view.summary == {"ready": 1, "loss": -1.0, "norm": -1.0}


def test_a_piece_that_vanishes_is_listed_again(store: Store) -> None:
    """Compaction removes small segments between listing and reading; the large one is found on the second look."""
    run = make_run(store)
    writer = Writer(store, run, run)
    small = writer.seal(Logged((It("step", 0),), "loss", 0.0)) + writer.seal(Logged((It("step", 1),), "loss", 1.0))
    listings = []
    listed = store.list

    def list_and_compact(prefix: str = "") -> object:
        found = list(listed(prefix))
        if prefix == keys.data_folder(run) and not listings:
            listings.append(prefix)
            writer.next = 1
            writer.seal(*[Logged((It("step", n),), "loss", float(n)) for n in range(2)])
            store.delete(small)
        return iter(found)

    store.list = list_and_compact  # type: ignore[method-assign, assignment]

    assert dataframe(store, "loss")["loss"].tolist() == [0.0, 1.0]
    assert listings


def test_data_that_keeps_vanishing_is_an_error() -> None:
    """After a bounded number of listings, saying so."""
    tries = []

    def work() -> None:
        tries.append(1)
        raise FileNotFoundError("runs/x")

    with pytest.raises(StoreUnavailable, match="vanished while it was read, 8 times"):
        steadily(work)
    assert len(tries) == LISTINGS
