"""One journal file as its writer sees it: a mapped, preallocated file that takes frames without a lock."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import mmap
import os
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.store import durable, frames
from tracker.store.frames import JournalHeader, Layout
from tracker.store.journals import Frames, decode_slots

if TYPE_CHECKING:
    from tracker.record.scope import Definition, Frame

_MADV_POPULATE_WRITE = 23
_SLOT = frames.SLOT_BYTES


class Journal:
    """A journal that is being written.

    The hot path of ``log`` reads ``floats``, ``ints``, ``next_slot``, ``limit``, ``slots`` and writes the slot itself;
    everything else goes through the methods. Slots come from an ``itertools.count``, which hands out each number once
    under the GIL; heap space is given out under a lock. What was written survives SIGKILL; see docs/design/0002 for
    power cuts. While the writer lives it holds a lock on the file, so that no recovery takes it for a dead one's.
    """

    __slots__ = (
        "_checked_pages", "_given", "_heap", "_heap_lock", "_heap_used", "_lock_descriptor", "_map", "_reserving",
        "contexts", "first", "floats", "header", "ints", "is_sealed", "layout", "limit", "names", "next_slot", "path",
        "sealed_to", "slots", "texts",
    )  # fmt: skip

    def __init__(self, path: Path | None, header: JournalHeader | None, layout: Layout, mapped: Any, lock: int = -1):
        self.path, self.header, self.layout = path, header, layout
        self._map, self._lock_descriptor = mapped, lock
        # One map and views of it: the regions need not begin at a multiple of the machine's page size.
        view = memoryview(mapped)
        self._heap = view[layout.heap_start : layout.slots_start]
        self.slots = view[layout.slots_start : layout.file_bytes]
        self.first = header.first if header else 0
        self.limit = layout.slots_bytes
        self.next_slot: Callable[[], int] = itertools.count(_SLOT, _SLOT).__next__
        self.floats: dict[Any, int] = {}  # metric -> tag of a FLOAT frame
        self.ints: dict[Any, int] = {}
        self.names: dict[Any, int] = {}  # (role, name, labels) -> number
        self.texts: dict[str, int] = {}
        self.contexts: dict[int, tuple[int, Any]] = {}  # id of a scope -> its number here, and the scope kept alive
        self._heap_used = 0
        # Reentrant: a signal handler or a destructor that logs may run in the middle of a log of its own thread.
        self._heap_lock = threading.RLock()
        self._reserving = False
        self._checked_pages = 0
        self._given = 0  # position up to which slots were given out, once retired
        self.sealed_to = 0  # slot up to which segments are published
        self.is_sealed = False  # all of it is published

    @classmethod
    def create(cls, path: Path, header: JournalHeader, layout: Layout) -> Journal:
        """Preallocate and map a new file; a full disk is an ``OSError`` here and never a SIGBUS later.

        The file gets its name when its header is complete: a process killed in here leaves an unfinished file only.
        """
        temporary = path.with_name(f"{durable.TEMPORARY}{path.name}")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        lock = -1
        try:
            _reserve(descriptor, layout.file_bytes)
            os.pwrite(descriptor, frames.encode_header(header, layout), 0)
            mapped = mmap.mmap(descriptor, layout.file_bytes)
            lock = _lock(temporary)
            os.rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            if lock >= 0:
                os.close(lock)
            raise
        finally:
            os.close(descriptor)
        return cls(path, header, layout, mapped, lock)

    @classmethod
    def closed(cls) -> Journal:
        """A journal that takes nothing, so that every call goes the slow way."""
        return cls(None, None, Layout(0, 0), bytearray())

    def retire(self) -> None:
        """Take no more frames: who has a slot already fills it, who comes later is turned away."""
        if not self._given:
            self.limit = 0
            self._given = min(self.next_slot(), self.layout.slots_bytes)

    def turn_away(self, position: int) -> None:
        """Fill a slot that was given out too late, so that it is not taken for a writer at work."""
        if position < self.layout.slots_bytes:
            self.void(position)

    def is_settled(self) -> bool:
        """Whether every slot that was given out before the journal was retired is filled."""
        return bool(self.frames().kind[1 : self._given // _SLOT].all())

    def release(self) -> None:
        """Let go of the lock and of the scopes that are known here: a scope keeps the journal that it began in, and so
        on, back to the first. In a forked child that leaves the journal to its parent.
        """
        self.contexts.clear()
        if self._lock_descriptor >= 0:
            os.close(self._lock_descriptor)
            self._lock_descriptor = -1

    def populate(self) -> None:
        """Fault the pages in ahead of their use, where the kernel can.

        Each would cost its first writer 5 µs; in bulk it is half of that, and without the GIL.
        """
        import ctypes

        # Through ctypes, because mmap.madvise keeps the GIL while the kernel works.
        with contextlib.suppress(AttributeError, OSError, TypeError, ValueError):
            address = ctypes.addressof(ctypes.c_char.from_buffer(self.slots))
            ctypes.CDLL(None).madvise(
                ctypes.c_void_p(address), ctypes.c_size_t(len(self.slots)), ctypes.c_int(_MADV_POPULATE_WRITE)
            )

    def put(self, kind: int, value: int, context: int, number: int, *, at_ns: int | None = None) -> int:
        """Commit one frame; returns its position, or -1 when the journal is full."""
        position = self.next_slot()
        if position >= self.limit:
            self.turn_away(position)
            return -1
        frames.SLOT_INT.pack_into(
            self.slots,
            position,
            value,
            time.time_ns() if at_ns is None else at_ns,
            context,
            kind << frames.KIND_SHIFT | number,
        )
        return position

    def put_float(self, kind: int, value: float, context: int, number: int) -> int:
        """Like ``put`` for a float value."""
        position = self.next_slot()
        if position >= self.limit:
            self.turn_away(position)
            return -1
        frames.SLOT_FLOAT.pack_into(
            self.slots, position, value, time.time_ns(), context, kind << frames.KIND_SHIFT | number
        )
        return position

    def put_payload(self, kind: int, payload: bytes, context: int, number: int) -> int:
        """Commit a frame whose value lies in the heap; -1 when slots or heap are full."""
        offset = self._take_heap(len(payload))
        if offset < 0:
            return -1
        if payload:
            self._heap[offset : offset + len(payload)] = payload
        return self.put(kind, offset | len(payload) << 32, context | zlib.crc32(payload) << 32, number)

    def _take_heap(self, length: int) -> int:
        with self._heap_lock:
            if self._reserving or self._heap_used + length > self.layout.heap_bytes:
                return -1  # interrupted in here by ourselves: the inner record goes to the next journal
            try:
                self._reserving = True
                offset = self._heap_used
                self._heap_used = offset + length
            finally:
                self._reserving = False
            return offset

    def void(self, position: int) -> None:
        """Fill a slot that was given out and is not needed, so that it is not taken for a writer at work."""
        frames.SLOT_INT.pack_into(self.slots, position, 0, 0, 0, frames.VOID << frames.KIND_SHIFT)

    def define(self, definition: Definition | Frame) -> int:
        """The number of a name, written on its first use; -1 when the journal is full.

        Two threads may both write it: equal names merge on reading.
        """
        number = self.names.get(definition.key)
        if number is None:
            number = self.put_payload(frames.NAME, definition.encoded, 0, 0)
            if number > 0:
                self.names[definition.key] = number
        return number

    def intern(self, text: str) -> int:
        """The number of a text, written on its first use; -1 when the journal is full."""
        number = self.texts.get(text)
        if number is None:
            number = self.put_payload(frames.INTERNED, text.encode("utf-8", "surrogatepass"), 0, 0)
            if number > 0:
                self.texts[text] = number
        return number

    def time_at(self, position: int) -> int:
        """The time of a frame that was committed here."""
        return int(frames.SLOT_INT.unpack_from(self.slots, position)[1])

    def frames(self) -> Frames:
        """What is committed at this moment, without a copy."""
        assert self.header is not None
        return decode_slots(str(self.path), self.header, self.layout, self._heap, self.slots, memoryview(b""))

    def write_checksums(self) -> None:
        """Note the checksums of pages that have filled since the last call."""
        found = self.frames()
        full_pages = found.settled // frames.SLOTS_PER_PAGE
        for page in range(self._checked_pages, full_pages):
            checksum = zlib.crc32(self.slots[page * frames.PAGE_BYTES : (page + 1) * frames.PAGE_BYTES])
            frames.CHECKSUM.pack_into(self._map, frames.HEADER_BYTES + page * 8, frames.CHECKED | checksum)
        self._checked_pages = max(self._checked_pages, full_pages)

    def sync(self) -> None:
        """Wait until the disk has everything that was committed before the call."""
        self._map.flush()

    def remove(self) -> None:
        """Delete the file and let go of it; the map lives until nobody uses it."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.release()


def _lock(path: Path) -> int:
    """A descriptor that holds the file's lock until it is closed.

    It is one of its own, because maps keep a copy of theirs, which would outlive a writer in its forked children.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # no locks on this file system: recovery goes by the process alone
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _reserve(descriptor: int, size: int) -> None:
    """Make sure that the disk has room for the file, so that writing to its map cannot fail."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = memoryview(bytes(1 << 20))  # macOS
    for offset in range(0, size, len(zeros)):
        os.pwrite(descriptor, zeros[: size - offset], offset)
