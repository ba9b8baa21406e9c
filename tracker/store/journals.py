"""Reading journals: from the bytes of a file, live or left behind, to arrays of committed frames."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tracker.errors import DamagedJournal
from tracker.store import frames
from tracker.store.frames import JournalHeader, Layout, Name

_MOST_PASSES = 8  # over a journal that is being written; two are the rule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass
class Frames:
    """The committed frames of one journal.

    ``value`` (bits), ``time`` (Unix ns), ``context`` and ``tag`` are arrays over slots, with ``kind`` zero where
    nothing was committed. ``end`` is the slot after the last committed one. A number (of a context, name or text)
    divided by 32 is a slot.
    """

    key: str
    header: JournalHeader
    layout: Layout
    kind: NDArray[np.uint8]
    value: NDArray[np.int64]
    time: NDArray[np.int64]
    context: NDArray[np.uint64]
    tag: NDArray[np.uint64]
    heap: memoryview
    end: int
    dropped_bytes: int = 0
    _names: dict[int, Name | None] = field(default_factory=dict)
    _texts: dict[int, str | None] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """Ordinal of slot 0 over the shard's life."""
        return self.header.first

    @property
    def last_ns(self) -> int:
        """Unix time of the last frame; 0 where there is none."""
        return int(self.time[1 : self.end].max()) if self.end > 1 else 0

    @property
    def holes(self) -> int:
        """Slots before the end that were given out and not committed: writers at work, or one that was interrupted."""
        return int((self.kind[1 : self.end] == 0).sum())

    @property
    def settled(self) -> int:
        """The slot up to which there is no hole."""
        holes = (self.kind[1 : self.end] == 0).nonzero()[0]
        return int(holes[0]) + 1 if len(holes) else self.end

    def name(self, number: int) -> Name | None:
        """What a name's number stands for; ``None`` when its frame was lost."""
        if number not in self._names:
            payload = self.payload(number // frames.SLOT_BYTES, frames.NAME)
            self._names[number] = None if payload is None else _decode_name(payload)
        return self._names[number]

    def text(self, number: int) -> str | None:
        """An interned text; ``None`` when its frame was lost."""
        if number not in self._texts:
            payload = self.payload(number // frames.SLOT_BYTES, frames.INTERNED)
            self._texts[number] = None if payload is None else payload.decode("utf-8", "surrogatepass")
        return self._texts[number]

    def payload(self, slot: int, kind: int | None = None) -> bytes | None:
        """The heap bytes of a frame; ``None`` when they are damaged, or the frame is not of this kind."""
        if not 0 < slot < self.end or (kind is not None and self.kind[slot] != kind):
            return None
        word = int(self.value[slot])
        offset, length = word & frames.NUMBER_MASK, word >> 32
        data = bytes(self.heap[offset : offset + length])
        intact = len(data) == length and zlib.crc32(data) == int(self.context[slot]) >> 32
        return data if intact else None


def _decode_name(payload: bytes) -> Name | None:
    try:
        return msgspec.json.decode(payload, type=Name)
    except (msgspec.MsgspecError, RecursionError):
        return None


def read_journal(path: Path) -> Frames:
    """The frames of a journal file, live or not; ``DamagedJournal`` when its header cannot be read.

    The file is read, not mapped: on a network file system a map of a journal that its writer removes would kill the
    reader. It is read twice, because a frame may be committed between the reading of its value and of its tag: what
    counts are the tags of the first pass, what they belong to comes from the second. A pass takes its time, too: a
    frame may be missed that was committed behind it, before others that lie ahead. These are read once more.
    """
    with path.open("rb") as file:
        first = file.read()
        header, layout = frames.decode_header(first, key=str(path))
        before = memoryview(first)[layout.slots_start : layout.file_bytes]
        _check_length(len(first), layout, str(path))
        seen = _committed(before)
        stop = layout.slots_start + len(seen) * frames.SLOT_BYTES
        checksums = memoryview(first)[frames.HEADER_BYTES : layout.heap_start]  # only ever of finished pages
        for _ in range(_MOST_PASSES):
            file.seek(layout.heap_start)
            latest = memoryview(file.read(stop - layout.heap_start))
            heap, slots = latest[: layout.heap_bytes], latest[layout.heap_bytes :]
            if not _add_missed(seen, slots):
                break
    found = decode_slots(str(path), header, layout, heap, slots, checksums, seen=seen)
    found.dropped_bytes += layout.slots_bytes - len(before)
    return found


def _check_length(length: int, layout: Layout, key: str) -> None:
    if length < layout.heap_start:
        raise DamagedJournal(f"{key} ends after {length} bytes, inside its header; nothing in it can be read")


def _committed(slots: memoryview) -> NDArray[np.bool_]:
    """Which slots are committed, in whole pages up to the last one."""
    import numpy as np

    count = len(slots) // frames.SLOT_BYTES
    tags = np.frombuffer(slots, np.uint64, count * 4).reshape(count, 4)[:, 3]
    found: NDArray[np.bool_] = (tags >> np.uint64(frames.KIND_SHIFT)) != 0
    last = found.nonzero()[0][-1:]
    pages = int(last[0]) // frames.SLOTS_PER_PAGE + 1 if len(last) else 0
    return found[: pages * frames.SLOTS_PER_PAGE]


def _add_missed(seen: NDArray[np.bool_], slots: memoryview) -> bool:
    """Add slots that were committed since and lie before one that was seen; whether there were any."""
    now = _committed(slots)
    last = seen.nonzero()[0][-1:]
    length = min(len(now), int(last[0]) if len(last) else 0)
    missed = now[:length] & ~seen[:length]
    seen[:length] |= missed
    return bool(missed.any())


def decode_journal(data: Any, *, key: str) -> Frames:
    """The frames in a buffer that holds a journal, whole or cut off anywhere.

    Pages whose checksum does not match are dropped and counted in ``dropped_bytes``, as is what lies beyond the cut.
    """
    view = memoryview(data)
    header, layout = frames.decode_header(view, key=key)
    _check_length(len(view), layout, key)
    heap = view[layout.heap_start : layout.slots_start]
    slots = view[layout.slots_start : layout.file_bytes]
    found = decode_slots(key, header, layout, heap, slots, view[frames.HEADER_BYTES : layout.heap_start])
    found.dropped_bytes += layout.slots_bytes - len(slots)
    return found


def decode_slots(
    key: str,
    header: JournalHeader,
    layout: Layout,
    heap: memoryview,
    slots: memoryview,
    checksums: memoryview,
    *,
    seen: NDArray[np.bool_] | None = None,
) -> Frames:
    """The frames in the regions of a journal; without checksums (empty) nothing is verified.

    ``seen``: which slots were committed at an earlier moment; the others are left out.
    """
    import numpy as np

    count = len(slots) // frames.SLOT_BYTES
    words = np.frombuffer(slots, dtype=np.uint64, count=count * 4).reshape(count, 4)
    tag = words[:, 3]
    kind = (tag >> np.uint64(frames.KIND_SHIFT)).astype(np.uint8)
    kind[:1] = 0
    if seen is not None:
        kind[~seen[:count]] = 0
    dropped = _drop_torn_pages(kind, slots, checksums)
    committed = kind.nonzero()[0]
    end = int(committed[-1]) + 1 if len(committed) else min(1, count)
    signed = words.view(np.int64)
    return Frames(key, header, layout, kind, signed[:, 0], signed[:, 1], words[:, 2], tag, heap, end, dropped)


def _drop_torn_pages(kind: NDArray[np.uint8], slots: memoryview, checksums: memoryview) -> int:
    """Clear the kinds of pages that a power cut tore; returns the number of bytes given up."""
    import numpy as np

    table = np.frombuffer(checksums, dtype=np.uint64)
    dropped = 0
    for page in (table & np.uint64(frames.CHECKED)).nonzero()[0].tolist():
        data = slots[page * frames.PAGE_BYTES : (page + 1) * frames.PAGE_BYTES]
        if len(data) == frames.PAGE_BYTES and zlib.crc32(data) != int(table[page]) & frames.NUMBER_MASK:
            kind[page * frames.SLOTS_PER_PAGE : (page + 1) * frames.SLOTS_PER_PAGE] = 0
            dropped += frames.PAGE_BYTES
    return dropped
