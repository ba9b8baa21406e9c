"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def describe(work: Path) -> dict[str, str]:
    """Processor, memory, system, Python, file system, load and commit, as lines of the report."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "processor": f"{_first('/proc/cpuinfo', 'model name') or platform.processor()}, {_cpus()} cores",
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "file system": file_system(work),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def commit() -> str:
    """Short hash of the checkout, marked when the measured packages have uncommitted changes."""
    here = Path(__file__).resolve().parent.parent.parent
    git = ["git", "-C", str(here)]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "tracker", "benchmarks/harness", "benchmarks/cases"],
        capture_output=True,
        text=True,
    )
    return f"{head or 'unknown'}{' with changes' if changed.stdout.strip() else ''}"


def file_system(folder: Path) -> str:
    """Type of the file system that holds the folder."""
    best, kind = "", "unknown"
    mounts = Path("/proc/mounts")
    for line in mounts.read_text().splitlines() if mounts.exists() else []:
        _, point, this_kind, *_ = line.split()
        if (str(folder.resolve()) + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, this_kind
    return kind


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0


def _memory() -> str:
    kib = _first("/proc/meminfo", "MemTotal").split()
    return f"{int(kib[0]) / 2**20:.0f} GiB" if kib else "unknown"


def _first(path: str, field: str) -> str:
    if not Path(path).exists():
        return ""
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""
