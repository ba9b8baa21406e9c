"""A program that forks writers which log without pause, and kills them: run by test_crash with what it should do.

Prints one JSON object a writer: its run, its store, how many log calls had returned, and how it died.
"""

from __future__ import annotations

import itertools
import json
import mmap
import os
import random
import signal
import struct
import sys
import time
from typing import Any

import tracker
from tracker.store import processes

PER_STEP, STEPS = 8, 50
_COUNT = struct.Struct("@Q")


def main(plan: dict[str, Any]) -> None:
    """Run one writer after the other, each killed at a random moment, or all at once."""
    chance = random.Random(plan["seed"])
    processes.this_writer()  # what a first call caches need not be done by every writer
    for number in range(plan["writers"]):
        store = f"{plan['store']}{number}" if plan.get("own_stores") else plan["store"]
        acked = mmap.mmap(-1, 4096)
        pid = os.fork()
        if pid == 0:
            _write(store, plan, acked)
        _wait_for(acked, pid, chance.choice([0, chance.randrange(200), chance.randrange(plan["most"])]), chance)
        os.kill(pid, getattr(signal, plan.get("signal", "SIGKILL")))
        status = os.waitpid(pid, 0)[1]
        run = acked[64:90].decode() if acked[64] else None
        told = {"run": run, "store": store, "acked": _count(acked)}
        print(json.dumps(told | {"status": os.waitstatus_to_exitcode(status)}), flush=True)


def _count(acked: mmap.mmap) -> int:
    """How many calls have returned: the larger of two words, because one is zero for a moment while it is written."""
    return max(_COUNT.unpack_from(acked, 0)[0], _COUNT.unpack_from(acked, 8)[0])


def _wait_for(acked: mmap.mmap, pid: int, target: int, chance: random.Random) -> None:
    """Until that many log calls have returned and a moment more; for no call at all, a moment after the start."""
    deadline = time.monotonic() + 60
    while _count(acked) < target and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(chance.random() * (0.002 if target else 0.1))


def _write(store: str, plan: dict[str, Any], acked: mmap.mmap) -> None:
    signal.alarm(200)  # should the program above die, this must not fill the disk
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    run = tracker.init(store=store, capture=(), **plan.get("settings", {}))
    acked[64:90] = run.id.encode()
    log_without_pause(acked)


def log_without_pause(acked: Any, *, stop: int | None = None) -> None:
    """Log record after record; ``acked`` counts the calls that have returned. ``expected`` says what and where."""
    numbers = itertools.count() if stop is None else iter(range(stop))
    try:
        for _ in tracker.loop("epoch", itertools.count()):
            for _ in tracker.loop("step", range(STEPS)):
                for number in itertools.islice(numbers, PER_STEP):
                    _log(number)
                    _COUNT.pack_into(acked, number % 2 * 8, number + 1)
                if stop is not None and number + 1 == stop:
                    return
    finally:
        if stop is not None:
            tracker.finish()


def _log(number: int) -> None:
    name, value, labels, phase = expected(number)
    if phase is None:
        tracker.log(name, value, **labels)
    else:
        with tracker.step(phase=phase):
            tracker.log(name, value, **labels)


def expected(number: int) -> tuple[str, Any, dict[str, Any], str | None]:
    """Name, value, labels and step of a record."""
    turn = number % PER_STEP
    if turn < 4:
        return "loss", number + 0.5, {"part": turn}, None
    if turn == 4:
        return "count", number, {}, "even" if number % 16 == 4 else "odd"
    if turn == 5:
        return "note", f"{number} " + "x" * (20_000 if number % 512 == 5 else number % 50), {}, None
    if turn == 6:
        return "nested", {"number": number, "list": [number, None, "ü"]}, {}, None
    return "large", (1 << 70) + number, {}, None


def place(number: int) -> tuple[tuple[tuple[str, int, int], ...], frozenset[tuple[str, Any]]]:
    """Epoch, step and phase of a record, as ``reading`` gives them."""
    epoch, step = divmod(number // PER_STEP, STEPS)
    phase = expected(number)[3]
    return (("epoch", epoch, epoch), ("step", step, step)), frozenset({("phase", phase)} if phase else ())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
