"""Copying one key, so that only bytes that were checked reach the target."""

from __future__ import annotations

import hashlib
import mmap
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, BinaryIO

from blake3 import blake3

from tracker.errors import Corrupt, DamagedDocument, DamagedObject, DamagedSegment, KeyExists, KeyNotFound, StoreFull
from tracker.store import documents, keys
from tracker.store.base import Info, Store
from tracker.store.inspection import read_segment
from tracker.syncing.catalogue import Item

IN_MEMORY_BYTES = 8 << 20  # what is larger is copied to a temporary file first
_PIECE_BYTES = 8 << 20


def copy(source: Store, target: Store, item: Item) -> int:
    """Bring one immutable key over, and give its size; ``Corrupt`` when the source's bytes are not what its name says.

    Atomic, because a put is: a kill leaves the whole key or nothing. Memory is bounded, whatever the size. Doing it
    twice, or twice at once, writes the same bytes.
    """
    with checked(source, item) as data:
        if item.category == "bundle":
            create(target, item.key, data)
        else:
            target.put(item.key, data)
        return len(data)


@contextmanager
def checked(source: Store, item: Item) -> Iterator[memoryview]:
    """The bytes of a payload, when they are what its name says; else ``Corrupt``. Documents are checked elsewhere."""
    with fetched(source, item.info) as data:
        _CHECKS.get(item.category, _unchecked)(data, item.key)
        yield data


def create(target: Store, key: str, data: bytes | memoryview) -> bool:
    """Write a key that nobody else may have written meanwhile; whether it was us."""
    try:
        target.create(key, data)
    except KeyExists:
        return False
    return True


@contextmanager
def fetched(store: Store, info: Info) -> Iterator[memoryview]:
    """The bytes of a key: in memory when they are few, else mapped from a temporary file that nobody else can cut."""
    if info.size_bytes <= IN_MEMORY_BYTES:
        yield memoryview(store.get(info.key))
        return
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if info.size_bytes > free:
        raise Corrupt(
            f"it has {info.size_bytes:,} bytes and passes through {tempfile.gettempdir()}, where {free:,} are free; "
            "free some space there or set TMPDIR"
        )
    with tempfile.TemporaryFile(buffering=0) as file, store.open(info.key) as opened:
        size = _pour(opened, file)
        mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        try:
            yield memoryview(mapped)
        finally:
            with suppress(BufferError):  # an error on its way out may hold it for a moment; it is closed after that
                mapped.close()


def _pour(opened: BinaryIO, file: IO[bytes]) -> int:
    size = 0
    while piece := opened.read(_PIECE_BYTES):
        try:
            size += file.write(piece)
        except OSError as exc:
            raise StoreFull(f"{tempfile.gettempdir()}, through which it passes, takes no more bytes: {exc}") from exc
    return size


def _unchecked(data: memoryview, key: str) -> None:
    """Documents are checked where they are read."""


def _check_object(data: memoryview, key: str) -> None:
    digest = blake3(data).hexdigest()
    if keys.object_key(digest) != key:
        raise DamagedObject(
            f"its {len(data):,} bytes have the hash {digest}; restore it from a copy, or record it again"
        )


def _check_segment(data: memoryview, key: str) -> None:
    """That all of it can be read, and that it is a segment of the run, shard and path in its name."""
    import pyarrow as pa

    try:
        read_segment(pa.BufferReader(pa.py_buffer(data)), key)
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, RecursionError) as exc:
        raise DamagedSegment(f"it cannot be read: {exc}") from exc


def _check_bundle(data: memoryview, key: str) -> None:
    """That the pack in it is the one that was written: git's own check-sum stands at its end."""
    name = key.rsplit("/", 1)[1].removesuffix(".bundle")
    start = bytes(data[: 1 << 16]).find(b"\n\n") + 2
    length = 32 if len(name) == 64 else 20
    pack = data[start:]
    algorithm = "sha1" if length == 20 else "sha256"
    found = hashlib.new(algorithm, pack[:-length], usedforsecurity=False).digest()
    if start < 2 or bytes(pack[:4]) != b"PACK" or found != bytes(pack[-length:]):
        raise Corrupt("it has other bytes than the git bundle that was written")


_CHECKS: dict[str, Callable[[memoryview, str], None]] = {
    "object": _check_object,
    "segment": _check_segment,
    "bundle": _check_bundle,
}


def bundle_needs(store: Store, snapshot: str) -> list[str]:
    """The snapshots that a git bundle builds on, by its header."""
    head, end, _ = store.get_range(keys.code_bundle(snapshot), 0, 1 << 16).partition(b"\n\n")
    if not end or not head.startswith(b"# v"):
        raise Corrupt(f"{keys.code_bundle(snapshot)} has no header of a git bundle")
    needs = [line[1:].split(b" ")[0].decode("ascii", "replace") for line in head.split(b"\n") if line.startswith(b"-")]
    for need in needs:
        keys.check(need)
    return needs


def put_merged(source: bytes, target: Store, item: Item, *, dry: bool = False) -> bool:
    """Bring over a document that both stores may have, by its rule of merging; whether the target changed.

    Read again after writing, because another synchronisation may have written in between.
    """
    assert item.kind is not None
    if item.is_new and (dry or _put_new(source, target, item)):
        return True
    changed = False
    for _ in range(8):
        theirs = _get(target, item.key)
        wanted = source if theirs is None else _merged(source, theirs, item)
        if wanted == theirs:
            return changed
        if dry:
            return True
        if theirs is not None:
            target.put(item.key, wanted)
            changed = True
        elif create(target, item.key, wanted):
            return True
    return changed


def _put_new(source: bytes, target: Store, item: Item) -> bool:
    """Write a document that the target did not have a moment ago; whether nobody else has written it since.

    What is written once has the same bytes everywhere, so a put can do no harm to it, and spares the look that stands
    before a creation where the server has no conditional puts.
    """
    assert item.kind is not None
    if item.kind.merge is None and not target.conditional_put:
        target.put(item.key, source)
        return True
    return create(target, item.key, source)


def _get(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except KeyNotFound:
        return None


def _merged(source: bytes, theirs: bytes, item: Item) -> bytes:
    """What the target should have; its own bytes where they say the same, the source's where its own are damaged."""
    assert item.kind is not None
    if source == theirs:
        return theirs
    ours = documents.decode(source, item.kind.form, key=item.key)
    try:
        own = documents.decode(theirs, item.kind.form, key=item.key)
    except DamagedDocument:
        return source
    if item.kind.merge is None:
        return theirs
    agreed = documents.encode(item.kind.merge(ours, own))  # compared in this form, in which NaN equals itself
    if agreed == documents.encode(own):
        return theirs
    return source if agreed == documents.encode(ours) else agreed
