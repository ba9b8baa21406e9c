"""Objects are named by their hash, stored once, and verified when they are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3

from tests.conftest import remote
from tracker.errors import BadKey, DamagedObject, KeyNotFound
from tracker.store import objects
from tracker.store.base import Store
from tracker.store.keys import object_key

on_some_stores = pytest.mark.parametrize("address", remote("local", "memory", "obstore", "s3fs"), indirect=True)
on_local = pytest.mark.parametrize("address", ["local"], indirect=True)


@on_some_stores
def test_an_object_comes_back_by_its_hash(store: Store) -> None:
    """The name of an object is the BLAKE3 hash of its bytes."""
    data = os.urandom(100_000)

    digest = objects.put_object(store, memoryview(data))

    assert digest == blake3(data).hexdigest()
    assert objects.get_object(store, digest) == data
    assert b"".join(objects.stream_object(store, digest)) == data
    assert objects.has_object(store, digest)


@on_local
def test_equal_bytes_are_stored_once(store: Store) -> None:
    """A second put of the same bytes writes nothing."""
    digest = objects.put_object(store, b"payload")
    path = store.local_path(object_key(digest))
    assert path is not None
    before = path.stat()

    assert objects.put_object(store, b"payload") == digest
    assert path.stat().st_ino == before.st_ino


@on_local
def test_an_object_that_was_cut_is_written_anew(store: Store) -> None:
    """A key of the wrong length is not taken for the object."""
    digest = objects.put_object(store, b"payload")
    store.put(object_key(digest), b"payl")

    objects.put_object(store, b"payload")

    assert objects.get_object(store, digest) == b"payload"


@on_some_stores
def test_damage_is_noticed(store: Store) -> None:
    """Bytes that do not have the hash are never given out as the object."""
    digest = objects.put_object(store, b"payload")
    store.put(object_key(digest), b"pAyload")

    with pytest.raises(DamagedObject, match=digest):
        objects.get_object(store, digest)
    with pytest.raises(DamagedObject, match="7 bytes"):
        list(objects.stream_object(store, digest))


@on_some_stores
def test_an_absent_object_is_named(store: Store) -> None:
    """What is not there is not found, and not damaged."""
    digest = blake3(b"never stored").hexdigest()

    assert not objects.has_object(store, digest)
    with pytest.raises(KeyNotFound, match=digest):
        objects.get_object(store, digest)


@on_local
@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_only_hashes_name_objects(store: Store, digest: str) -> None:
    """A hash from a hostile document reaches no file."""
    with pytest.raises(BadKey):
        objects.get_object(store, digest)


@on_local
@pytest.mark.parametrize("size", [0, 1, 20_000_000])
def test_a_file_becomes_an_object(store: Store, tmp_path: Path, size: int) -> None:
    """Files of any size are stored without being read into memory."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))

    digest = objects.put_object_file(store, path)

    assert objects.hash_key(store, object_key(digest)) == (blake3(path.read_bytes()).hexdigest(), size)
