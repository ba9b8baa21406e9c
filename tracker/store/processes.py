"""Telling whether the process that wrote something is still there, on this machine and boot."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from pathlib import Path

import msgspec


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """A process, named so that a reused pid or a reboot is not mistaken for it."""

    host: str
    boot: str
    pid: int
    started: float  # the kernel's start time of the process, in its own unit; only ever compared
    namespace: str = ""  # of process ids: containers may share a host's name, and number their processes apart


def this_writer() -> Writer:
    """The process that calls."""
    started = _start_of(os.getpid()) or 0.0
    return Writer(host=_host(), boot=_boot(), pid=os.getpid(), started=started, namespace=_namespace())


def is_here(writer: Writer) -> bool:
    """Whether the process ran on this machine."""
    return writer.host == _host()


def is_visible(writer: Writer) -> bool:
    """Whether the process ran on this machine and in our namespace, so that ``is_alive`` can know."""
    return is_here(writer) and writer.namespace == _namespace()


def is_alive(writer: Writer) -> bool:
    """Whether a process that is visible still runs."""
    return writer.boot == _boot() and _start_of(writer.pid) == writer.started


@lru_cache(maxsize=1)
def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


@lru_cache(maxsize=1)
def _host() -> str:
    return platform.node()


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(int(psutil.boot_time()))


def _start_of(pid: int) -> float | None:
    """Start time of a process, or ``None`` when there is none (a zombie is none)."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else _start_by_psutil(pid)
    return None if after_name[0] in (b"Z", b"X") else float(after_name[19])


def _start_by_psutil(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None
