"""Samples of what the process and its machine do: processor, memory, disk, network, accelerators.

Names end in their unit. ``cpu.process_percent`` is of one processor (400 is four busy ones), ``cpu.host_percent`` of
all. Traffic of disk (of the process and its children) and network (of the host) is the sum since the sampler was made.
A reading that a system does not offer is absent, never an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tracker.record.gpu import GpuReader
from tracker.record.processes import ProcessTree

MAX_CHILDREN = 64
_UNLIMITED_BYTES = 1 << 60  # what a control group without a limit states

Sample = dict[str, float | int]


class SystemSampler:
    """Takes a sample when asked. Takes milliseconds, with ``nvidia-smi`` longer: call it off the main thread.

    At most ``max_children`` processes below this one are included; ``path`` is on the file system whose space is
    stated. In a forked child it begins anew.

    >>> SystemSampler(gpu=False).sample()["memory.rss_bytes"] > 0
    True
    """

    def __init__(self, *, path: str | Path = ".", gpu: bool = True, max_children: int = MAX_CHILDREN) -> None:
        self._path = os.path.abspath(path)  # the program may change its working directory
        self._gpu = gpu
        self._max_children = max_children
        self._begin()

    def sample(self) -> Sample:
        """Every reading there is at this moment, by name."""
        if self._pid != os.getpid():
            self._begin()
        found: Sample = {}
        for read in self._readers:
            found.update(self._guarded(read))
        return found

    def _begin(self) -> None:
        import psutil

        self._pid = os.getpid()
        self._expected = (psutil.Error, OSError, ValueError, AttributeError, NotImplementedError, RuntimeError)
        psutil.cpu_percent(None)
        self._network_start = self._guarded(_network)
        self._group = _memory_group()
        processes = ProcessTree(max_children=self._max_children)
        self._readers: list[Callable[[], Sample]] = [processes.measure, _host, self._disk, self._network, self._limits]
        if self._gpu:
            self._readers.append(GpuReader().read)

    def _guarded(self, read: Callable[[], Sample]) -> Sample:
        try:
            return read()
        except self._expected:
            return {}

    def _disk(self) -> Sample:
        import shutil

        usage = shutil.disk_usage(self._path)
        return {"disk.used_bytes": usage.used, "disk.free_bytes": usage.free}

    def _network(self) -> Sample:
        start = self._network_start
        return {name: max(value - start.get(name, value), 0) for name, value in _network().items()}

    def _limits(self) -> Sample:
        """Memory of the control group: what a job may use, where the host has more."""
        if self._group is None:
            return {}
        used, limit = self._group
        found: Sample = {"memory.group_used_bytes": int(used.read_text())}
        stated = limit.read_text().strip()
        if stated.isdecimal() and int(stated) < _UNLIMITED_BYTES:
            found["memory.group_limit_bytes"] = int(stated)
        return found


def _host() -> Sample:
    import psutil

    memory = psutil.virtual_memory()
    return {
        "cpu.host_percent": psutil.cpu_percent(None),
        "memory.host_used_bytes": memory.used,
        "memory.host_available_bytes": memory.available,
    }


def _network() -> Sample:
    import psutil

    counters = psutil.net_io_counters()
    return {"network.sent_bytes": counters.bytes_sent, "network.received_bytes": counters.bytes_recv}


def _memory_group(proc: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> tuple[Path, Path] | None:
    """The files with use and limit of this process's memory control group (version 2 or 1), where there are such."""
    try:
        entries = [line.split(":", 2) for line in Path(proc).read_text().splitlines() if line.count(":") >= 2]
    except OSError:
        return None
    for number, controllers, path in entries:
        folder = Path(mount) / path.lstrip("/")
        if "memory" in controllers.split(","):
            folder = Path(mount) / "memory" / path.lstrip("/")
            files = folder / "memory.usage_in_bytes", folder / "memory.limit_in_bytes"
        elif number == "0":
            files = folder / "memory.current", folder / "memory.max"
        else:
            continue
        if files[0].exists() and files[1].exists():
            return files
    return None
