"""Readings of NVIDIA accelerators through the driver's library (``pynvml``) where installed, else ``nvidia-smi``.

Only the devices that ``CUDA_VISIBLE_DEVICES`` leaves to this process are read. Without a device there are no readings,
and after a few failures nobody asks again.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable
from typing import Any

_QUERY = "index,uuid,utilization.gpu,memory.used,memory.total,power.draw,temperature.gpu"
_TIMEOUT_S = 10.0
_MAX_FAILURES = 3
_MEBI = 1 << 20

Sample = dict[str, float | int]


class GpuReader:
    """Reads ``gpu.<index>.…`` of every visible device; the index is the driver's."""

    def __init__(self, visible: str | None = None) -> None:
        self._visible = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
        self._failures = 0
        self._source: Callable[[], Sample] | None = self._find_source()

    def read(self) -> Sample:
        """Use, memory, power and temperature of each device; empty without one. Blocking, at most ten seconds."""
        if self._source is None:
            return {}
        try:
            sample = self._source()
        except (OSError, subprocess.SubprocessError, ValueError, RuntimeError):
            self._failures += 1
            if self._failures >= _MAX_FAILURES:
                self._source = None
            return {}
        self._failures = 0
        return sample

    def _find_source(self) -> Callable[[], Sample] | None:
        if self._visible is not None and self._visible.strip() in ("", "-1"):
            return None
        return self._library() or self._command()

    def _library(self) -> Callable[[], Sample] | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an outdated package of the same name warns on import
                nvml: Any = importlib.import_module("pynvml")
            nvml.nvmlInit()
        except Exception:  # noqa: BLE001  not installed, no driver, no device: NVMLError is nothing but an Exception
            return None
        return lambda: self._read_library(nvml)

    def _read_library(self, nvml: Any) -> Sample:
        found: Sample = {}
        try:
            for index in range(nvml.nvmlDeviceGetCount()):
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                uuid = nvml.nvmlDeviceGetUUID(handle)
                if is_visible(str(index), uuid if isinstance(uuid, str) else uuid.decode(), self._visible):
                    found |= {f"gpu.{index}.{name}": value for name, value in _readings(nvml, handle).items()}
        except nvml.NVMLError as exc:
            raise RuntimeError(str(exc)) from exc
        return found

    def _command(self) -> Callable[[], Sample] | None:
        command = shutil.which("nvidia-smi")
        return None if command is None else lambda: self._run(command)

    def _run(self, command: str) -> Sample:
        arguments = [command, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        return parse(done.stdout, self._visible)


def _readings(nvml: Any, handle: Any) -> Sample:
    """What one device offers; some offer only a part of it."""
    readings: dict[str, Callable[[], float | int]] = {
        "utilisation_percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "memory_used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
        "memory_total_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
        "power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        "temperature_celsius": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
    }
    found: Sample = {}
    for name, read in readings.items():
        try:
            found[name] = read()
        except nvml.NVMLError_NotSupported:
            continue
    return found


def parse(table: str, visible: str | None) -> Sample:
    """The readings in what ``nvidia-smi`` prints, one device per line; fields that are not numbers are left out."""
    found: Sample = {}
    for line in table.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 7 or not is_visible(fields[0], fields[1], visible):
            continue
        for name, scale, field in zip(_NAMES, _SCALES, fields[2:], strict=True):
            if field.replace(".", "", 1).isdecimal():
                value = float(field) * scale
                found[f"gpu.{fields[0]}.{name}"] = value if name == "power_watts" else int(value)
    return found


_NAMES = ("utilisation_percent", "memory_used_bytes", "memory_total_bytes", "power_watts", "temperature_celsius")
_SCALES = (1, _MEBI, _MEBI, 1, 1)


def is_visible(index: str, uuid: str, visible: str | None) -> bool:
    """Whether ``CUDA_VISIBLE_DEVICES`` leaves this device to us; slices of devices (MIG) count as their devices."""
    if visible is None:
        return True
    wanted = [item.strip() for item in visible.split(",") if item.strip()]
    if any(item.startswith("MIG") for item in wanted):
        return True
    return any(item == index or (item.startswith("GPU-") and uuid.startswith(item)) for item in wanted)
