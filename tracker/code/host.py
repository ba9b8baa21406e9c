"""The machine a run ran on."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
from pathlib import Path

from tracker.code.gpu import list_gpus
from tracker.store.documents import Host

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def capture_host() -> Host:
    """Name, system, the processors and memory that this process may use, and the accelerators."""
    return Host(
        name=socket.gethostname(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpus=_usable_cpus(),
        memory_bytes=_usable_memory(),
        gpus=list_gpus(),
    )


def _usable_cpus() -> int:
    """What the scheduler gave us, which in a job is less than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _usable_memory() -> int:
    """The machine's memory, or the container's limit where that is lower; 0 where neither is known."""
    limits = [_physical_memory()]
    for path in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text(encoding="ascii")))
    return min((limit for limit in limits if limit > 0), default=0)


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
