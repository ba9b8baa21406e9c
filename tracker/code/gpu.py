"""The accelerators of a machine, asked of the driver's own library or tool, without importing a framework."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from typing import Any

from tracker.store.documents import Gpu

_LIBRARY = "libnvidia-ml.so.1"
_TOOL = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
_TIMEOUT_S = 10.0
_MAX_TEXT = 96


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def list_gpus() -> tuple[Gpu, ...]:
    """Every NVIDIA device that the driver shows; none where there is no driver."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return parse_tool(_ask_tool())
    if library.nvmlInit_v2() != 0:
        return parse_tool(_ask_tool())
    try:
        driver = _text(library.nvmlSystemGetDriverVersion)
        count = ctypes.c_uint()
        if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return ()
        return tuple(gpu for number in range(count.value) if (gpu := _describe(library, number, driver)) is not None)
    finally:
        library.nvmlShutdown()


def _describe(library: Any, number: int, driver: str | None) -> Gpu | None:
    handle, memory = ctypes.c_void_p(), _Memory()
    if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(handle)) != 0:
        return None  # not ours: another job's device, hidden by the scheduler
    name = _text(library.nvmlDeviceGetName, handle)
    known = library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0
    return Gpu(name=name or "unknown", memory_bytes=memory.total if known else None, driver=driver)


def _text(function: Any, *arguments: Any) -> str | None:
    buffer = ctypes.create_string_buffer(_MAX_TEXT)
    failed = function(*arguments, buffer, ctypes.c_uint(_MAX_TEXT)) != 0
    return None if failed else buffer.value.decode("utf-8", "replace")


def _ask_tool() -> str:
    if shutil.which(_TOOL[0]) is None:
        return ""
    try:
        done = subprocess.run(_TOOL, capture_output=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # a driver that hangs must not hold up a run
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def parse_tool(output: str) -> tuple[Gpu, ...]:
    """The devices in the output of ``nvidia-smi``: name, memory in MiB, driver.

    >>> parse_tool("NVIDIA A100, 81920, 550.1\\n")[0].memory_bytes
    85899345920
    """
    rows = ([part.strip() for part in line.split(",")] for line in output.splitlines())
    return tuple(
        Gpu(name=row[0], memory_bytes=int(row[1]) << 20 if row[1].isdigit() else None, driver=row[2])
        for row in rows
        if len(row) == 3
    )
