"""How runs begin and end: in every way a process can end, twice, nested, in children, again after the end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import tracker
from tests.record import reading
from tests.record.scripts import read, run_script
from tracker.errors import BadSetting, HindsightError
from tracker.read.catalog import scan
from tracker.record.identity import Identity, claim_document
from tracker.record.lifecycle import active_run
from tracker.store.ids import new_id
from tracker.store.memory import MemoryStore
from tracker.store.open import open_store
from tracker.store.recovery import recover

LOOP = """
import os, signal, sys, threading, time
import tracker
for step in tracker.loop("step", range(3)):
    tracker.log("loss", step)
"""
ENDINGS = {
    "end of script": ("", 0, "finished"),
    "exit without a status": ("sys.exit()", 0, "finished"),
    "exit with a status": ("sys.exit(3)", 3, "failed"),
    "exit with a text": ("sys.exit('no data')", 1, "failed"),
    "exception": ("raise ValueError('bad batch')", 1, "failed"),
    "interrupt": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(10)", -2, "killed"),
    "exit at once": ("os._exit(4)", 4, "killed"),
    "abort": ("os.abort()", -6, "killed"),
    "terminated": ("os.kill(os.getpid(), signal.SIGTERM)", -15, "killed"),
    "finished before": ("tracker.finish(); os._exit(0)", 0, "finished"),
    "own status": ("tracker.finish('preempted')", 0, "preempted"),
}


@pytest.mark.parametrize(("code", "exit_code", "status"), ENDINGS.values(), ids=ENDINGS)
def test_every_ending_keeps_the_records_the_exit_code_and_the_truth(
    tmp_path: Path, code: str, exit_code: int, status: str
) -> None:
    """The program ends as it would without us, all that was logged is there, and the status says what happened."""
    done = run_script(tmp_path, LOOP + code)

    assert (done.code, done.run().status) == (exit_code, status)
    assert read(done, "loss") == [0, 1, 2]


def test_an_exception_is_told_in_the_end_and_on_stderr(tmp_path: Path) -> None:
    """The traceback that the user sees is the interpreter's own; the store has it, too, without secrets."""
    done = run_script(tmp_path, LOOP + "raise ValueError('bad batch at https://me:hunter2@host/x')")

    end = done.run().attempts[0].end
    assert end is not None
    assert "Traceback" in done.err
    assert end.error is not None
    assert end.error.startswith("ValueError: bad batch")
    assert "hunter2" not in f"{end.error}{end.traceback}"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_handler_of_the_user_keeps_sigterm(tmp_path: Path, when: str) -> None:
    """Handlers installed before and after the start of a run are called, and decide."""
    handler = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    kill = "os.kill(os.getpid(), signal.SIGTERM); time.sleep(10)"

    done = run_script(tmp_path, handler + LOOP + kill if when == "before" else LOOP + handler + kill)

    assert (done.code, done.run().status) == (7, "failed")
    assert read(done, "loss") == [0, 1, 2]


FORKS = {
    "exits at once": "tracker.log('child', 1); os._exit(0)",
    "exits by sys.exit": "tracker.log('child', 1); sys.exit(0)",
    "finishes and logs on": "tracker.finish(); tracker.log('child', 1); tracker.finish(); os._exit(0)",
    "is killed": "tracker.log('child', 1); os.kill(os.getpid(), signal.SIGKILL)",
    "forks again": "pid = os.fork()\n    if pid:\n        os.waitpid(pid, 0); os._exit(0)\n    tracker.log('child', 1)",
}


@pytest.mark.parametrize("child", FORKS.values(), ids=FORKS)
def test_a_forked_child_neither_ends_nor_disturbs_its_parent(tmp_path: Path, child: str) -> None:
    """Both record into one run, the child in a shard of its own, and the parent alone ends it."""
    code = f"""
pid = os.fork()
if pid == 0:
    {child}
    os._exit(0)
os.waitpid(pid, 0)
tracker.log("parent", 2)
"""
    done = run_script(tmp_path, LOOP + code)

    store, view = open_store(done.store), done.run()
    assert (done.code, view.status) == (0, "finished")
    assert (read(done, "loss"), read(done, "child"), read(done, "parent")) == ([0, 1, 2], [1], [2])
    assert len({cell.shard for cell in reading.cells(store, view.run)}) == 2
    assert not list(store.list(f"runs/{view.run}/journal/"))


def test_a_child_that_outlives_its_parent_loses_nothing(tmp_path: Path) -> None:
    """The run has ended, the child logs on, and its records join the run."""
    child = """
if os.fork() == 0:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.01)
    for step in tracker.loop("late", range(1000)):
        tracker.log("child", step)
    open("over", "w").close()
    os._exit(0)
"""
    done = run_script(tmp_path, LOOP + child)
    while not (tmp_path / "over").exists():
        pass

    store = open_store(done.store)
    recover(store, store)
    assert read(done, "child") == list(range(1000))
    assert done.run().status == "finished"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_pool_record_and_leave_the_parent_alone(tmp_path: Path, method: str) -> None:
    """Every worker's records are there once, also of workers that are terminated, and the parent goes on."""
    code = f"""
import multiprocessing, sys
import tracker

def work(item):
    for step in tracker.loop("inner", range(50)):
        tracker.log("worker", item * 100 + step)
    return item

if __name__ == "__main__":
    tracker.log("before", 1)
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        assert pool.map(work, range(4), chunksize=1) == [0, 1, 2, 3]
        tracker.log("during", 2)
    tracker.log("after", 3)
"""
    done = run_script(tmp_path, code)

    assert (done.code, done.err) == (0, "")
    assert sorted(read(done, "worker")) == sorted(item * 100 + step for item in range(4) for step in range(50))
    assert [read(done, name) for name in ("before", "during", "after")] == [[1], [2], [3]]
    parent = done.runs()[0]
    assert parent.status == "finished"
    assert {view.parent for view in done.runs()[1:]} <= {parent.run}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_know_the_options_of_the_store(tmp_path: Path, method: str) -> None:
    """Those that were given to ``init`` reach them as they are, and not the environment that others see."""
    code = f"""
import multiprocessing, os
import tracker
from tracker.record.identity import handed_options

def work(item):
    tracker.log("worker", item)
    assert handed_options()["kept"] == (b"1", 2)

if __name__ == "__main__":
    options = {{"target_protocol": "file", "path": {str(tmp_path)!r} + "/hidden", "kept": (b"1", 2)}}
    tracker.init(store="dir://store", storage_options=options, capture=())
    assert "hidden" not in str(os.environ)
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        pool.map(work, range(4), chunksize=1)
        pool.close()
        pool.join()
"""
    done = run_script(tmp_path, code)

    assert (done.code, done.err) == (0, "")
    found = tracker.dataframe("worker", store=tmp_path / "hidden" / "store")
    assert sorted(found["worker"]) == [0, 1, 2, 3]


def test_starting_again_ends_the_first_run(tmp_path: Path) -> None:
    """``init`` twice gives two runs, each with its own records, and loops that are open go on in the second."""
    first = tracker.init(store=tmp_path / "store", capture=())
    for step in tracker.loop("step", range(4)):
        if step == 2:
            second = tracker.init(store=tmp_path / "store", capture=())
        tracker.log("loss", step)
    tracker.finish()

    store = open_store(tmp_path / "store")
    assert reading.values(store, first.id, "loss") == [0, 1]
    assert reading.series(store, second.id) == {
        (reading.place(("step", 2, 2)), '["loss", {}]'): [2],
        (reading.place(("step", 3, 3)), '["loss", {}]'): [3],
    }
    assert [view.status for view in scan(store)] == ["finished", "finished"]


def test_a_start_that_fails_leaves_no_half_run(tmp_path: Path) -> None:
    """After an impossible setting the next ``init`` works, and nothing of the first attempt is open."""
    with pytest.raises(BadSetting):
        tracker.init(store=tmp_path / "store", journal_bytes="many")
    assert active_run() is None

    with pytest.raises(HindsightError):
        tracker.init(store="nonsense+://x", capture=())
    run = tracker.init(store=tmp_path / "store", capture=())
    tracker.log("loss", 1)
    tracker.finish()
    assert reading.values(open_store(tmp_path / "store"), run.id, "loss") == [1]


def test_what_is_logged_after_the_end_is_a_new_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``finish`` ends the run; the next log starts another one by the settings of the environment."""
    monkeypatch.setenv("HINDSIGHT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HINDSIGHT_CAPTURE", "")
    for value in (1, 2):
        tracker.log("loss", value)
        tracker.finish()
        tracker.finish()

    store = open_store(tmp_path / "store")
    assert [reading.values(store, view.run, "loss") for view in scan(store)] == [[1], [2]]
    assert active_run() is None


def test_what_is_logged_after_the_end_of_a_block_run_is_told(tmp_path: Path) -> None:
    """In a ``with run`` block nothing can be started behind the user's back: it is dropped, and said."""
    with tracker.run(store=tmp_path / "store", capture=()) as run:
        tracker.log("loss", 1)
        tracker.finish()
        with pytest.warns(RuntimeWarning, match="has ended"):
            assert tracker.log("loss", 2) == 2

    assert reading.values(open_store(tmp_path / "store"), run.id, "loss") == [1]


def test_a_run_in_a_run_is_its_child(tmp_path: Path) -> None:
    """Records go to the innermost run, its loops begin anew, and afterwards the outer one goes on where it was."""
    with tracker.run(store=tmp_path / "store", capture=()) as outer:
        for epoch in tracker.loop("epoch", range(2)):
            with tracker.run(capture=()) as inner:
                tracker.log("loss", epoch)
            tracker.log("loss", epoch)

    store = open_store(tmp_path / "store")
    assert inner.document.parent == outer.id
    assert reading.series(store, inner.id) == {(reading.place(), '["loss", {}]'): [1]}
    assert [cell.place[0] for cell in reading.cells(store, outer.id)] == [(("epoch", i, i),) for i in range(2)]


def test_an_exception_fails_its_run_and_not_the_outer_one(tmp_path: Path) -> None:
    """The exception goes on as it was; the run that it left is failed, the one that caught it is not."""
    store = open_store(tmp_path / "store")

    with tracker.run(store=store.url, capture=()):
        with pytest.raises(ZeroDivisionError), tracker.run("inner", capture=()):
            raise ZeroDivisionError
        tracker.log("after", 1)

    assert [(view.name, view.status) for view in scan(store)] == [(None, "finished"), ("inner", "failed")]


def test_attempts_of_one_launch_are_one_run(tmp_path: Path) -> None:
    """The same launch key, one after the other: one run with two attempts, each with its records."""
    for value in (1, 2):
        with tracker.run(store=tmp_path / "store", launch_key="dag/task/1", capture=()):
            tracker.log("loss", value)

    store = open_store(tmp_path / "store")
    (view,) = scan(store)
    assert [attempt.status for attempt in view.attempts] == ["finished", "finished"]
    assert reading.values(store, view.run, "loss") == [1, 2]


def test_threads_that_log_first_at_the_same_time_start_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen threads race for the start of the process's run."""
    monkeypatch.setenv("HINDSIGHT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HINDSIGHT_CAPTURE", "")
    gate = threading.Barrier(16)

    def work(number: int) -> None:
        gate.wait()
        tracker.log("thread", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tracker.finish()

    store = open_store(tmp_path / "store")
    (view,) = scan(store)
    assert sorted(reading.values(store, view.run, "thread")) == list(range(16))


def test_environment_of_children_names_the_run_only_while_it_is_open(tmp_path: Path) -> None:
    """Child processes learn their parent run from the environment, and later ones do not."""
    run = tracker.init(store=tmp_path / "store", capture=())
    assert os.environ["HINDSIGHT_PARENT_RUN"] == run.id

    tracker.finish()
    assert "HINDSIGHT_PARENT_RUN" not in os.environ


def test_a_run_that_cannot_begin_does_not_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged after it belongs to the next run and not to it."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as changed:
        changed.setattr("tracker.record.capture.begin", refuse)
        with pytest.raises(RuntimeError, match="new thread"), tracker.run("one", store=tmp_path / "store"):
            raise AssertionError("it began")
    assert active_run() is None
    with tracker.run("two", store=tmp_path / "store"):
        tracker.log("a", 1)

    found = {run.name: run for run in scan(open_store(tmp_path / "store"))}
    assert {name: run.status for name, run in found.items()} == {"one": "failed", "two": "finished"}
    assert (found["one"].summary, found["two"].summary) == ({}, {"a": 1})


class Removing(MemoryStore):
    """A run goes between two looks at it."""

    def get(self, key: str) -> bytes:
        """Once it is gone when it is asked for."""
        if self.has_run:
            self.has_run = False
            self.delete([key])
        return super().get(key)

    has_run = True


def test_a_run_that_is_removed_while_it_is_claimed_is_made_anew() -> None:
    """It was there when it was to be created, and is gone when it is read."""
    store, run = Removing("removed-while-claimed"), new_id()
    identity = Identity(project="p", script="train.py", run=run)
    claim_document(store, identity, run, 1.0)

    claimed = claim_document(store, identity, run, 2.0)

    assert claimed.created == 2.0
    assert claim_document(store, identity, run, 3.0) == claimed
