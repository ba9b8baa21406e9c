"""The binary form of a journal: kinds of frames, the slot, the header page (docs/design/0002)."""

from __future__ import annotations

import struct
import zlib
from typing import Annotated, Any, NamedTuple

import msgspec

from tracker.errors import DamagedJournal, NewerFormat
from tracker.store.processes import Writer

MAGIC = b"HSJRNL"
VERSION = b"01"
PAGE_BYTES = 4096
SLOT_BYTES = 32
SLOTS_PER_PAGE = PAGE_BYTES // SLOT_BYTES
HEADER_BYTES = PAGE_BYTES
MINIMUM_HEAP_BYTES = 1 << 16  # room for the names and contexts of any record

# Kinds of frames. They stand in the top byte of the tag; zero means that nothing was committed.
FLOAT, INT, BOOL, NONE = 1, 2, 3, 4
TEXT, BYTES, JSON, BIGINT = 5, 6, 7, 8
OUTPUT = 9
ITERATION = 16
ITERATION_FLOAT, ITERATION_INT, ITERATION_BOOL, ITERATION_TEXT = 17, 18, 19, 20
LOOP_END = 21
STEP_FLOAT, STEP_INT, STEP_BOOL, STEP_TEXT = 24, 25, 26, 27
NAME, INTERNED = 32, 33
VOID = 63  # the slot was given out, then not needed

SCALAR_KINDS = (FLOAT, INT, BOOL, NONE)
HEAP_VALUE_KINDS = (TEXT, BYTES, JSON, BIGINT)

KIND_SHIFT = 56
REPEATED = 1 << 32  # in the tag of an ITERATION: it began in an earlier journal of the shard
NUMBER_MASK = (1 << 32) - 1
CHECKED = 1 << 32  # in the checksum table: the low half is valid

# Native order, so that the fast native packers are used: value, time, context, tag. The tag comes last.
SLOT_INT = struct.Struct("@qqQQ")
SLOT_FLOAT = struct.Struct("@dqQQ")
CHECKSUM = struct.Struct("@Q")
_LENGTHS = struct.Struct("<8sQQI")  # magic, heap bytes, slot bytes, length of the JSON text
_CRC = struct.Struct("<I")  # of the lengths and the text


class JournalHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal says of itself, beside its lengths."""

    run: str
    attempt: str
    shard: str
    first: int  # ordinal of slot 0 over the shard's life
    created: float
    writer: Writer


class Layout(msgspec.Struct, frozen=True):
    """Where the regions of a journal file begin, in bytes."""

    heap_bytes: int
    slots_bytes: int

    @property
    def checksums_start(self) -> int:
        return HEADER_BYTES

    @property
    def pages(self) -> int:
        """Number of 4 KiB pages of slots."""
        return self.slots_bytes // PAGE_BYTES

    @property
    def heap_start(self) -> int:
        table = self.pages * CHECKSUM.size
        return HEADER_BYTES + -(-table // PAGE_BYTES) * PAGE_BYTES

    @property
    def slots_start(self) -> int:
        return self.heap_start + self.heap_bytes

    @property
    def slots(self) -> int:
        """Number of slots."""
        return self.slots_bytes // SLOT_BYTES

    @property
    def file_bytes(self) -> int:
        return self.slots_start + self.slots_bytes


class Need(NamedTuple):
    """What must fit into a new journal."""

    heap_bytes: int = 0
    slots: int = 0


ANYTHING = Need()


def layout_for(file_bytes: int, need: Need = ANYTHING) -> Layout:
    """The layout of a journal of about this size, with room for what must fit; a quarter is for the heap."""
    heap = max(file_bytes // 4, need.heap_bytes, MINIMUM_HEAP_BYTES)
    slots = max(file_bytes - file_bytes // 4, need.slots * SLOT_BYTES, PAGE_BYTES)
    return Layout(-(-heap // PAGE_BYTES) * PAGE_BYTES, -(-slots // PAGE_BYTES) * PAGE_BYTES)


def encode_header(header: JournalHeader, layout: Layout) -> bytes:
    """The header page."""
    text = msgspec.json.encode(header)
    lengths = _LENGTHS.pack(MAGIC + VERSION, layout.heap_bytes, layout.slots_bytes, len(text))
    return (lengths + _CRC.pack(zlib.crc32(text, zlib.crc32(lengths))) + text).ljust(HEADER_BYTES, b"\0")


def decode_header(page: bytes | memoryview, *, key: str) -> tuple[JournalHeader, Layout]:
    """The header and the layout of a journal, or ``DamagedJournal`` naming the key.

    A page of zeroes (the process died between creating the file and writing the header) is damaged, too: nothing was
    logged to it yet.
    """
    page = bytes(page[:HEADER_BYTES])
    begin = _LENGTHS.size + _CRC.size
    if len(page) < begin or page[: len(MAGIC)] != MAGIC:
        raise DamagedJournal(f"{key} is not a journal: it does not begin with {MAGIC!r}")
    magic, heap_bytes, slots_bytes, length = _LENGTHS.unpack_from(page)
    if magic[len(MAGIC) :] != VERSION:
        raise NewerFormat(
            f"{key} is a journal of format {magic[len(MAGIC) :]!r}, this version reads {VERSION!r}; upgrade to read it"
        )
    text = page[begin : begin + length]
    (crc,) = _CRC.unpack_from(page, _LENGTHS.size)
    if (
        zlib.crc32(text, zlib.crc32(page[: _LENGTHS.size])) != crc
        or heap_bytes % PAGE_BYTES
        or slots_bytes % PAGE_BYTES
    ):
        raise DamagedJournal(f"{key} has a damaged header page")
    try:
        return msgspec.json.decode(text, type=JournalHeader), Layout(heap_bytes, slots_bytes)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise DamagedJournal(f"{key} has a damaged header page: {exc}") from exc


_Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Name(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of a NAME frame: what a number in the journal stands for."""

    name: str
    role: str = "metric"  # metric, argument, loop, step, output
    labels: dict[str, Any] = {}
    start: _Int64 | None = None  # loops whose values are start + stride * index
    stride: _Int64 | None = None
