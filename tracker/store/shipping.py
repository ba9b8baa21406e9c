"""What waits in a spool because its store did not answer, brought there: payloads first, and the end of a run last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tracker.errors import DamagedDocument, KeyExists, KeyNotFound, Unavailable
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.changes import changing
from tracker.store.documents import Launch, RunDocument, decode, encode
from tracker.store.holds import holding


@contextmanager
def shipping(store: Store, source: Store) -> Iterator[None]:
    """Payloads that wait in a spool are in the store inside of this block, and nobody sweeps them before its end."""
    with holding(store, _payloads(source)):
        ship_payloads(store, source)
        yield


def ship_payloads(store: Store, source: Store) -> None:
    """Move payloads and code that wait in a spool: objects first, then bundles, then the documents that name them."""
    for key in _payloads(source):
        try:
            store.create(key, source.get(key))
        except KeyExists:
            pass
        except KeyNotFound:
            continue  # another process of this machine was faster
        source.delete([key])


def _payloads(source: Store) -> list[str]:
    found = [info.key for prefix in (keys.OBJECTS, keys.CODE) for info in source.list(prefix)]
    return sorted(found, key=lambda key: (key.endswith(".json"), not key.startswith(keys.OBJECTS), key))


def ship_documents(store: Store, source: Store, run: str) -> list[str]:
    """Move documents that could not be put when their store did not answer, and give their keys; the dead writer's last
    word replaces nothing newer. A launch key that another run has taken meanwhile stays that one's.
    """
    _ship_launch(store, source, run)
    waiting = list(source.list(keys.run_folder(run)))
    if all(info.key.startswith(keys.journal_folder(run)) for info in waiting):
        return []
    with changing(store, run):
        return _ship_documents(store, source, run)


def _ship_documents(store: Store, source: Store, run: str) -> list[str]:
    checkpoints = [info.key for info in source.list(keys.checkpoints_folder(run))]
    attempts = [info.key for info in source.list(keys.attempts_folder(run))]
    waiting = sorted([keys.run_document(run), *attempts, *checkpoints], key=lambda key: key.endswith("/end.json"))
    shipped = []
    with shipping(store, source):  # what they name, also what was written since that was done last
        for key in waiting:
            try:
                store.put(key, _read(source, key))
            except KeyNotFound:
                continue
            source.delete([key])
            shipped.append(key)
    return shipped


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
        f"{source.local_path(key) or key} waits for its store and cannot be read ({reason}); what else waits of this "
        "run stays there until the file is mended or deleted"
    )
