"""What this process and those below it use, measured from one reading to the next."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_DEPTH = 8
_MIN_INTERVAL_S = 0.05  # a percentage of less time than this says nothing


class ProcessTree:
    """Processor time, memory and disk traffic of this process and at most ``max_children`` processes below it.

    A process that cannot be read, or ends meanwhile, is left out of that reading. What a child did before it was first
    seen, and after it was last seen, is not counted.
    """

    def __init__(self, *, max_children: int) -> None:
        import psutil

        self._psutil: Any = psutil
        self._max_children = max_children
        self._own = psutil.Process()
        self._seen: dict[int, Any] = {}  # by process id; psutil notices when one is given out again
        self._cpu_s: dict[int, float] = {}
        self._io: dict[int, tuple[int, int]] = {}
        self._io_sum = (0, 0)
        self._measured = time.monotonic()
        self._advance(self._own)

    def measure(self) -> dict[str, float | int]:
        """Use since the last measurement (processor) or since the first (disk), and what is in use now (memory)."""
        children = self._children()
        used_s = self._advance(self._own) + sum(self._advance(child) for child in children)
        now = time.monotonic()
        elapsed_s, self._measured = now - self._measured, now
        sample: dict[str, float | int] = {
            "memory.rss_bytes": self._own.memory_info().rss,
            "process.threads": self._own.num_threads(),
            "process.children": len(children),
        }
        if children:
            sample["memory.children_rss_bytes"] = sum(self._read(child, _rss_bytes, 0) for child in children)
        if elapsed_s >= _MIN_INTERVAL_S:
            sample["cpu.process_percent"] = round(100 * used_s / elapsed_s, 2)
        if self._own.pid in self._io:
            sample["disk.read_bytes"], sample["disk.written_bytes"] = self._io_sum
        return sample

    def _children(self) -> list[Any]:
        pids = self._child_pids()
        for gone in self._seen.keys() - set(pids):
            for known in (self._seen, self._cpu_s, self._io):
                known.pop(gone, None)
        for pid in pids:
            if pid not in self._seen:
                self._read(pid, self._meet, None)
        return list(self._seen.values())

    def _meet(self, pid: int) -> None:
        child = self._psutil.Process(pid)
        self._seen[pid] = child
        self._advance(child)

    def _child_pids(self) -> list[int]:
        if sys.platform != "linux" or not Path(f"/proc/self/task/{os.getpid()}/children").exists():
            children = self._own.children(recursive=True)  # reads the whole process table
            return [child.pid for child in children[: self._max_children]]
        found: list[int] = []
        level = [os.getpid()]
        for _ in range(MAX_DEPTH):
            level = [child for pid in level for child in _children_of(pid)][: self._max_children - len(found)]
            if not level:
                break
            found += level
        return found

    def _advance(self, process: Any) -> float:
        """Note the counters of a process; processor seconds since they were last noted."""
        self._read(process, self._add_io, None)
        seconds = self._read(process, _cpu_s, None)
        if seconds is None:
            return 0.0
        before = self._cpu_s.get(process.pid, seconds)
        self._cpu_s[process.pid] = seconds
        return max(float(seconds - before), 0.0)

    def _add_io(self, process: Any) -> None:
        counters = process.io_counters()  # AttributeError where the system has none
        now = (counters.read_bytes, counters.write_bytes)
        before = self._io.get(process.pid, now)
        self._io[process.pid] = now
        self._io_sum = (self._io_sum[0] + now[0] - before[0], self._io_sum[1] + now[1] - before[1])

    def _read(self, process: Any, how: Callable[[Any], Any], otherwise: Any) -> Any:
        try:
            return how(process)
        except (self._psutil.Error, OSError, AttributeError, NotImplementedError):
            return otherwise


def _cpu_s(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _rss_bytes(process: Any) -> int:
    return int(process.memory_info().rss)


def _children_of(pid: int) -> list[int]:
    """The direct children of a process, from the kernel's own lists (one for each of its threads)."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    except OSError:  # the process ended, or a thread of it: what was found is enough
        return found
    return found
