"""Objects: immutable payloads that are named by their hash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from tracker.errors import DamagedObject, KeyNotFound
from tracker.store.base import Store
from tracker.store.keys import object_key

_CHUNK_BYTES = 8 << 20


def put_object(store: Store, data: bytes | memoryview) -> str:
    """Store a payload and return its BLAKE3 hash; one that is there already costs a look and no upload.

    Safe to repeat and to do from many writers at once: equal bytes have one key, so writers can only agree. An object
    of another length under this key (cut by a full disk, or by a copy that is still under way) is written anew.
    """
    return store_object(store, data)[0]


def store_object(store: Store, data: bytes | memoryview) -> tuple[str, bool]:
    """As ``put_object``, and whether it was written now.

    One that was found may be deleted as long as no document names it: name it inside of ``holds.relying``.
    """
    digest = blake3(data).hexdigest()
    if _size(store, digest) == len(data):
        return digest, False
    store.put(object_key(digest), data)
    return digest, True


def put_object_file(store: Store, path: Path) -> str:
    """Store the bytes of a file as an object; the file is mapped and not read into memory."""
    import mmap

    with path.open("rb") as file:
        if not path.stat().st_size:
            return put_object(store, b"")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            return put_object(store, view)


def get_object(store: Store, digest: str) -> bytes:
    """The payload of this hash, verified; ``KeyNotFound`` or ``DamagedObject`` name the hash."""
    data = store.get(object_key(digest))
    _verify(store, digest, blake3(data).hexdigest(), len(data))
    return data


def stream_object(store: Store, digest: str) -> Iterator[bytes]:
    """The payload in pieces of 8 MiB, for payloads that memory should not hold whole.

    Raises ``DamagedObject`` after the last piece when the bytes do not have this hash, so treat what you made of them
    as unfinished until the iteration ends.
    """
    hasher, size = blake3(), 0
    with store.open(object_key(digest)) as file:
        for piece in _pieces(file):
            hasher.update(piece)
            size += len(piece)
            yield piece
    _verify(store, digest, hasher.hexdigest(), size)


def has_object(store: Store, digest: str) -> bool:
    """Whether the store has an object of this hash; its bytes are not read."""
    return _size(store, digest) is not None


def hash_key(store: Store, key: str) -> tuple[str, int]:
    """BLAKE3 hash and size of whatever stands under a key, read in pieces."""
    hasher, size = blake3(), 0
    with store.open(key) as file:
        for piece in _pieces(file):
            hasher.update(piece)
            size += len(piece)
    return hasher.hexdigest(), size


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_CHUNK_BYTES):
        yield piece


def _size(store: Store, digest: str) -> int | None:
    try:
        return store.info(object_key(digest)).size_bytes
    except KeyNotFound:
        return None


def _verify(store: Store, digest: str, found: str, size_bytes: int) -> None:
    if found != digest:
        raise DamagedObject(
            f"object {digest} in {store.url} is damaged: its {size_bytes:,} bytes have the hash {found}; "
            "restore it from a copy of the store, or record it again"
        )
