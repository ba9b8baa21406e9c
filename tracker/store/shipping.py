"""What waits in a spool because its store did not answer, brought there: payloads first, and the end of a run last."""

from __future__ import annotations

import mmap
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import BinaryIO

from blake3 import blake3

from tracker.errors import (
    Corrupt,
    DamagedDocument,
    DamagedObject,
    KeyExists,
    KeyNotFound,
    StoreFull,
    Unavailable,
)
from tracker.store import keys
from tracker.store.base import Store, has
from tracker.store.changes import changing
from tracker.store.documents import Launch, RunDocument, decode, encode
from tracker.store.holds import holding

Failed = dict[str, str]  # why something waits on, by key

_PIECE_BYTES = 8 << 20
_TRIES = 3  # payloads that the store may refuse, each of which may take a minute, before the others wait as well


@contextmanager
def shipping(store: Store, source: Store, failed: Failed) -> Iterator[None]:
    """Payloads that wait in a spool are in the store inside of this block, and nobody sweeps them before its end.

    One that cannot be read, or that the store refuses, waits on: it is noted in ``failed``, and not tried again where
    it stands there already. After some refusals the others are noted there untried. Raises ``Unavailable`` when the
    store does not answer at all.
    """
    with holding(store, _payloads(source)):
        _ship_payloads(store, source, failed)
        yield


def _ship_payloads(store: Store, source: Store, failed: Failed) -> None:
    """Move payloads and code that wait in a spool: objects first, then bundles, then the documents that name them."""
    tries = _TRIES
    for key in _payloads(source):
        if key in failed:
            continue
        if tries <= 0:
            failed[key] = "not tried, because the store has refused others"
            continue
        try:
            _ship_payload(store, source, key, failed)
        except KeyNotFound:
            continue  # another process of this machine was faster
        except Corrupt as exc:
            failed[key] = str(exc)
            continue
        except Unavailable as exc:
            if not _answers(store):
                raise
            tries -= _TRIES if isinstance(exc, StoreFull) else 1
            failed[key] = str(exc)
            continue
        source.delete([key])


def _ship_payload(store: Store, source: Store, key: str, failed: Failed) -> None:
    if failed and key.endswith(".json") and (missing := _missing(_read(source, key), failed)):
        raise Corrupt(f"waits for {missing}, which cannot be shipped")
    with _mapped(source, key) as data:
        if not key.startswith(keys.OBJECTS):
            with suppress(KeyExists):
                store.create(key, data)
        elif _size(store, key) != len(data):
            store.put(key, data)


def _answers(store: Store) -> bool:
    """Whether a store that did not take one payload answers all the same, so that another may be tried."""
    try:
        has(store, keys.FORMAT)
    except Unavailable:
        return False
    return True


@contextmanager
def _mapped(source: Store, key: str) -> Iterator[memoryview]:
    """The bytes of a payload, not all in memory at once; one that does not have the hash in its name is damaged."""
    try:
        file = source.open(key)
    except Unavailable as exc:
        raise _unreadable(source, key, exc) from exc
    with file:
        try:
            size = _checked(file, key)
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else None
        except (Corrupt, OSError) as exc:
            raise _unreadable(source, key, exc) from exc
        if mapped is None:
            yield memoryview(b"")
            return
        data = memoryview(mapped)
        try:
            yield data
        finally:
            with suppress(BufferError):  # an error on its way out may hold a part of it; it is closed after that
                data.release()
                mapped.close()


def _checked(file: BinaryIO, key: str) -> int:
    hasher, size = blake3(), 0
    while piece := file.read(_PIECE_BYTES):
        hasher.update(piece)
        size += len(piece)
    if key.startswith(keys.OBJECTS) and not key.endswith(f"/{hasher.hexdigest()}"):
        raise DamagedObject(f"its {size:,} bytes have the hash {hasher.hexdigest()}")
    return size


def _size(store: Store, key: str) -> int | None:
    try:
        return store.info(key).size_bytes
    except KeyNotFound:
        return None


def _missing(code: bytes, failed: Failed) -> str | None:
    """What a document of code would name although it is not in the store. Which bundles a bundle builds on stands in it
    alone, so all of these documents wait for one.
    """
    return next((key for key in failed if key.endswith(".bundle")), None) or _named(code, failed)


def _named(document: bytes, failed: Failed) -> str | None:
    """The first of these payloads that a document names: objects by their hash, code by its snapshot."""
    held = (key for key in failed if key.startswith((keys.OBJECTS, keys.CODE)))
    return next((key for key in held if PurePosixPath(key).stem.encode() in document), None)


def _payloads(source: Store) -> list[str]:
    found = [info.key for prefix in (keys.OBJECTS, keys.CODE) for info in source.list(prefix)]
    random.Random().shuffle(found)  # else those that are refused would be tried first again and again
    return sorted(found, key=lambda key: (key.endswith(".json"), not key.startswith(keys.OBJECTS)))


def ship_documents(store: Store, source: Store, run: str, failed: Failed) -> list[str]:
    """Move documents that could not be put when their store did not answer, and give their keys; the dead writer's last
    word replaces nothing newer. A launch key that another run has taken meanwhile stays that one's. Those that name a
    payload which could not be shipped (``failed``) wait for it.
    """
    _ship_claims(store, source)
    _ship_launch(store, source, run)
    waiting = list(source.list(keys.run_folder(run)))
    if all(info.key.startswith(keys.journal_folder(run)) for info in waiting):
        return []
    with changing(store, run):
        return _ship_documents(store, source, run, failed)


def _ship_documents(store: Store, source: Store, run: str, failed: Failed) -> list[str]:
    checkpoints = [info.key for info in source.list(keys.checkpoints_folder(run))]
    attempts = [info.key for info in source.list(keys.attempts_folder(run))]
    # A removal that meets this sees the attempt before it sees the run.
    waiting = sorted([*attempts, *checkpoints, keys.run_document(run)], key=lambda key: key.endswith("/end.json"))
    shipped = []
    with shipping(store, source, failed):  # what they name, also what was written since that was done last
        for key in waiting:
            try:
                document = _read(source, key)
            except KeyNotFound:
                continue
            if _named(document, failed):
                continue
            if key.endswith("/failure.json"):
                with suppress(KeyExists):  # of the ranks that fail the first one is told
                    store.create(key, document)
            else:
                store.put(key, document)
            source.delete([key])
            shipped.append(key)
    return shipped


def _ship_claims(store: Store, source: Store) -> None:
    """Move what processes have agreed on while the store was away, also how many there were: those that come now agree
    through the store. What was claimed there meanwhile stays.
    """
    for info in list(source.list("launches/")):
        try:
            claim = _read(source, info.key)
            decode(claim, Launch, key=info.key)
        except (KeyNotFound, Corrupt):
            continue  # shipped by another process, or damaged; of a run's own key its document tells, too
        with suppress(KeyExists):
            store.create(info.key, claim)
        source.delete([info.key])


def _ship_launch(store: Store, source: Store, run: str) -> None:
    key = keys.run_document(run)
    try:
        launch_key = decode(_read(source, key), RunDocument, key=key).launch_key
    except KeyNotFound:
        return
    except DamagedDocument as exc:
        raise _unreadable(source, key, exc.__cause__ or exc) from exc
    if launch_key is None:
        return
    pointer = keys.launch_document(launch_key)
    with suppress(KeyExists):
        store.create(pointer, encode(Launch(launch_key=launch_key, run=run)))
    source.delete([pointer])


def _read(source: Store, key: str) -> bytes:
    """A document that waits; where it cannot be read, that is its own damage, and not a store that is away."""
    try:
        return source.get(key)
    except Unavailable as exc:
        raise _unreadable(source, key, exc) from exc


def _unreadable(source: Store, key: str, reason: BaseException) -> DamagedDocument:
    return DamagedDocument(
        f"{source.local_path(key) or key} waits for its store and cannot be read ({reason}); what belongs to it stays "
        "there until the file is mended or deleted"
    )
