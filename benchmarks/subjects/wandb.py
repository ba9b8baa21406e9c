"""wandb in offline mode: a service process that appends protocol buffers to one file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.model import Names, Subject

_BLOCK = 32768
_HEADER = 7
_FULL, _LAST = 1, 4


def begin() -> Names:
    import wandb

    return {"run": wandb.init(project="benchmark", mode="offline")}


def end(names: Names) -> None:
    names["run"].finish()


def kept() -> int:
    from wandb.proto.wandb_internal_pb2 import Record

    found = 0
    for path in Path("wandb").glob("offline-run-*/*.wandb"):
        for payload in _payloads(path.read_bytes()):
            record: Any = Record.FromString(payload)
            found += any("loss" in (item.key, *item.nested_key) for item in record.history.item)
    return found


def _payloads(data: bytes) -> Iterator[bytes]:
    """The whole records of the log: blocks of 32 KiB with fragments of checksum (4 bytes), length (2), kind (1)."""
    position, parts = _HEADER, b""
    while position + _HEADER <= len(data):
        room = _BLOCK - position % _BLOCK
        if room < _HEADER:
            position += room
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        fragment = data[position + _HEADER : position + _HEADER + length]
        if kind == 0 or len(fragment) < length:
            return
        position += _HEADER + length
        parts += fragment
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""


SUBJECT = Subject(
    name="wandb",
    requirements=("wandb",),
    distribution="wandb",
    module="wandb",
    begin=begin,
    end=end,
    log="run.log({name: value})",
    log_row="run.log(row)",
    record='run.log({**row, "epoch": epoch, "phase": phase})',
    stores=("wandb",),
    data=("wandb/offline-run-*/*.wandb",),
    kept=kept,
    calls={"capture": 500, "log_latency": 5_000, "throughput": 20_000},
    environment={"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"},
)
