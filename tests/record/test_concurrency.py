"""Many writers at once: processes, threads, signal handlers and destructors, with journals that change all the time."""

from __future__ import annotations

import contextvars
import gc
import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

import tracker
from tests.record import reading
from tracker.read.catalog import scan
from tracker.record.context import set_scope
from tracker.record.run import Run
from tracker.store.open import open_store


def in_threads(run: Run, work: Callable[[int], None], count: int) -> None:
    """Do work in so many threads of a run at the same time, with the interpreter changing between them often."""
    gate = threading.Barrier(count)

    def begin(number: int) -> None:
        set_scope(run.recorder.root)
        gate.wait()
        work(number)

    threads = [threading.Thread(target=contextvars.Context().run, args=(begin, number)) for number in range(count)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("rounds", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_threads_lose_nothing_when_journals_change(tmp_path: Path, rounds: int) -> None:
    """Eight threads race through changes of the journal, by full slots and by full heaps; all is there, in order."""
    with tracker.run(store=tmp_path / "store", capture=(), journal_bytes=4096) as run:

        def work(number: int) -> None:
            for step in range(rounds):
                tracker.log("count", step, thread=number)
                tracker.log("loss", step / 2, thread=number)
                if step % 50 == number:
                    tracker.log("note", f"{step} " + "x" * 9000, thread=number)

        in_threads(run, work, 8)
        alive = reading.series(open_store(tmp_path / "store"), run.id)

    sealed = reading.series(open_store(tmp_path / "store"), run.id)
    assert alive == sealed
    for number in range(8):
        own = {json.loads(name)[0]: values for (_, name), values in sealed.items() if f'": {number}}}' in name}
        assert own["count"] == list(range(rounds))
        assert own["loss"] == [step / 2 for step in range(rounds)]
        assert [int(text.split()[0]) for text in own["note"]] == list(range(number, rounds, 50))


def test_threads_in_loops_lose_nothing_when_journals_change(tmp_path: Path) -> None:
    """The same for iterations, whose context must be known in every new journal."""
    with tracker.run(store=tmp_path / "store", capture=(), journal_bytes=4096) as run:

        def work(number: int) -> None:
            with tracker.step(thread=number):
                for outer in tracker.loop("outer", [5, 6, 7]):
                    for inner in tracker.loop("inner", range(60)):
                        tracker.log("x", outer * 1000 + inner)

        in_threads(run, work, 6)

    found = reading.cells(open_store(tmp_path / "store"), run.id)
    assert len(found) == 6 * 3 * 60
    for cell in found:
        outer, inner = divmod(cell.value, 1000)
        assert cell.place[0] == (("outer", outer - 5, outer), ("inner", inner, inner))
    assert Counter(dict(cell.place[1])["thread"] for cell in found) == dict.fromkeys(range(6), 180)


def test_logging_while_the_run_ends_is_recorded_or_counted(tmp_path: Path) -> None:
    """A thread that logs on while the run is finished: every call is in the run or among its drops."""
    returned = 0
    stop = threading.Event()
    with tracker.run(store=tmp_path / "store", capture=(), journal_bytes=4096) as run:

        def work() -> None:
            nonlocal returned
            set_scope(run.recorder.root)
            while not stop.is_set():
                tracker.log("x", returned)
                returned += 1
                if returned % 50 == 0:
                    time.sleep(0.0005)  # others want to work, too

        thread = threading.Thread(target=work)
        thread.start()
        while returned < 500:
            time.sleep(0.001)
    stop.set()
    thread.join()

    values = reading.values(open_store(tmp_path / "store"), run.id, "x")
    assert values == list(range(len(values)))
    assert len(values) + sum(run.recorder.dropped.values()) == returned


def test_a_commit_beside_the_end_of_the_run_is_harmless(tmp_path: Path) -> None:
    """``commit`` and ``finish`` in two threads publish everything, once."""
    for _ in range(20):
        with tracker.run(store=tmp_path / "store", capture=(), journal_bytes=4096) as run:
            for number in range(300):
                tracker.log("x", number)
            thread = threading.Thread(target=run.commit)
            thread.start()
        thread.join()
        assert reading.values(open_store(tmp_path / "store"), run.id, "x") == list(range(300))
        end = scan(open_store(tmp_path / "store"), [run.id])[0].attempts[0].end
        assert end is not None
        assert end.records == 300


def test_a_destructor_that_logs_does_not_stop_the_log_it_interrupts(tmp_path: Path) -> None:
    """The collector may run a destructor anywhere, also while a journal changes; its records are kept like others."""

    class Last:
        def __init__(self, number: int) -> None:
            self.number, self.itself = number, self

        def __del__(self) -> None:
            tracker.log("destroyed", f"{self.number} " + "x" * 500)
            destroyed.append(self.number)

    destroyed: list[int] = []
    run = tracker.init(store=tmp_path / "store", capture=(), journal_bytes=4096)
    before = gc.get_threshold()
    gc.set_threshold(5, 2, 2)
    try:
        for number in range(600):
            Last(number)
            tracker.log("text", f"{number}")
            tracker.log("nested", [number])
    finally:
        gc.set_threshold(*before)
    while len(destroyed) < 600:  # nothing is collected here while another thread is collecting
        gc.collect()
    tracker.finish()

    store = open_store(tmp_path / "store")
    assert reading.values(store, run.id, "nested") == [[number] for number in range(600)]
    assert reading.values(store, run.id, "text") == [f"{number}" for number in range(600)]
    assert sorted(int(text.split()[0]) for text in reading.values(store, run.id, "destroyed")) == list(range(600))


def test_a_signal_handler_that_logs_does_not_stop_the_log_it_interrupts(tmp_path: Path) -> None:
    """Preemption warnings arrive anywhere in a log; the handler's own records are kept."""
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        tracker.log("signal", f"{handled} " + "x" * 300)
        handled += 1
        if handled < 300:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)  # the next one; a timer of its own could outrun us

    before = signal.signal(signal.SIGALRM, handler)
    number = 0
    try:
        with tracker.run(store=tmp_path / "store", capture=(), journal_bytes=4096) as run:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            while handled < 300:
                tracker.log("text", f"{number}")
                number += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    store = open_store(tmp_path / "store")
    assert reading.values(store, run.id, "text") == [f"{each}" for each in range(number)]
    assert sorted(int(text.split()[0]) for text in reading.values(store, run.id, "signal")) == list(range(handled))


RUN = """
import sys
import tracker
print(tracker.init(capture=(), launch_key=sys.argv[2] or None).id, flush=True)
sys.stdin.readline()
number = int(sys.argv[1])
tracker.arg("number", number)
for epoch in tracker.loop("epoch", range(3)):
    for step in tracker.loop("step", range(100)):
        tracker.log("x", number * 1000 + epoch * 100 + step)
"""


def run_together(folder: Path, count: int, launch_key: str = "") -> list[str]:
    """Start so many programs in one folder with one store, let them go at once, and return their runs."""
    (folder / "train.py").write_text(textwrap.dedent(RUN))
    processes = [
        subprocess.Popen(
            [sys.executable, "train.py", str(number), launch_key],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"HINDSIGHT_STORE": str(folder / "store"), "HINDSIGHT_JOURNAL_BYTES": "8192"},
        )
        for number in range(count)
    ]  # fmt: skip
    runs = []
    for process in processes:
        assert process.stdout is not None
        runs.append(process.stdout.readline().strip())
    for process in processes:
        process.communicate("go\n", timeout=120)
    assert [process.returncode for process in processes] == [0] * count
    return runs


def test_eight_runs_at_once_keep_to_themselves(tmp_path: Path) -> None:
    """One repository, one store, eight programs: eight runs with their own arguments and their own records."""
    runs = run_together(tmp_path, 8)

    store = open_store(tmp_path / "store")
    assert sorted(view.run for view in scan(store)) == sorted(set(runs))
    for number, run in enumerate(runs):
        assert reading.values(store, run, "x") == [number * 1000 + i for i in range(300)]
        (view,) = scan(store, [run])
        assert (view.status, view.arguments) == ("finished", {"number": number})


def test_attempts_at_once_share_a_run_and_lose_nothing(tmp_path: Path) -> None:
    """Four programs with one launch key: one run, four attempts, none of which overwrites another's records."""
    runs = run_together(tmp_path, 4, launch_key="dag/run/task")

    store = open_store(tmp_path / "store")
    (view,) = scan(store)
    assert set(runs) == {view.run}
    assert [attempt.status for attempt in view.attempts] == ["finished"] * 4
    by_shard: dict[str, list[int]] = defaultdict(list)
    for cell in reading.cells(store, view.run):
        if cell.metric == reading.identity("x", {}):
            by_shard[cell.shard].append(cell.value)
    assert sorted(by_shard.values()) == [[number * 1000 + i for i in range(300)] for number in range(4)]
