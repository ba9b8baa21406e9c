"""TensorBoardX: event files of one protocol buffer per scalar."""

from __future__ import annotations

import struct
from pathlib import Path

from harness.model import Names, Subject


def begin() -> Names:
    from tensorboardX import SummaryWriter

    return {"writer": SummaryWriter("events")}


def end(names: Names) -> None:
    names["writer"].close()


def kept() -> int:
    from tensorboardX.proto.event_pb2 import Event

    return sum(
        value.tag == "loss"
        for path in Path("events").glob("events.*")
        for payload in _payloads(path.read_bytes())
        for value in Event.FromString(payload).summary.value
    )


def _payloads(data: bytes) -> list[bytes]:
    """The whole records of an event file: length (8 bytes), checksum (4), payload, checksum (4)."""
    found, position = [], 0
    while position + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        end_of_record = position + 12 + length + 4
        if end_of_record > len(data):
            break
        found.append(data[position + 12 : position + 12 + length])
        position = end_of_record
    return found


SUBJECT = Subject(
    name="tensorboardx",
    requirements=("tensorboardX",),
    distribution="tensorboardX",
    module="tensorboardX",
    begin=begin,
    end=end,
    log="writer.add_scalar(name, value, step)",
    log_row="for name, value in row.items(): writer.add_scalar(name, value, step)",
    record=(
        "for name, value in row.items(): writer.add_scalar(name, value, step)\nwriter.add_scalar('epoch', epoch, step)"
    ),
    stores=("events",),
    data=("events",),
    kept=kept,
    calls={"log_latency": 30_000, "throughput": 60_000},
)
