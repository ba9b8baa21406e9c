"""Whether a store has the whole of a snapshot, unharmed."""

from __future__ import annotations

import hashlib

from tracker.code.bundle import read_header
from tracker.code.files import decode_path
from tracker.code.selection import show_path
from tracker.code.shipping import read_snapshot
from tracker.errors import DamagedDocument, DamagedObject, KeyNotFound
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import Snapshot
from tracker.store.objects import get_object


def check_snapshot(store: Store, snapshot: str, *, objects: bool = True) -> list[str]:
    """What is wrong with a snapshot, one sentence each; empty when it can be checked out.

    Reads the bundle and compares its check-sum; of what it builds on only the presence is checked, so that going
    through all snapshots of a store reads each once. ``objects=False`` leaves the content of plain files unread.
    """
    try:
        document = read_snapshot(store, snapshot)
    except (KeyNotFound, DamagedDocument) as exc:
        return [str(exc)]
    if document.snapshot != snapshot:
        return [f"the document of the snapshot {snapshot} speaks of {document.snapshot}"]
    return _check_bundle(store, snapshot) if document.kind == "git" else _check_files(store, document, objects=objects)


def _check_bundle(store: Store, snapshot: str) -> list[str]:
    try:
        data = store.get(keys.code_bundle(snapshot))
        header = read_header(data, name=snapshot)
    except (KeyNotFound, DamagedObject) as exc:
        return [str(exc)]
    problems = []
    pack = memoryview(data)[header.pack_start :]
    length = 20 if len(snapshot) == 40 else 32
    digest = hashlib.new("sha1" if length == 20 else "sha256", pack[:-length], usedforsecurity=False)
    if bytes(pack[:4]) != b"PACK" or digest.digest() != bytes(pack[-length:]):
        problems.append(f"the bundle of the code snapshot {snapshot} has other bytes than it was written with")
    if snapshot not in header.brings:
        problems.append(f"the bundle of the code snapshot {snapshot} brings {', '.join(header.brings) or 'nothing'}")
    problems += [
        f"the code snapshot {snapshot} needs {needed}, which is not in the store"
        for needed in header.needs
        if not _has(store, keys.code_bundle(needed))
    ]
    return problems


def _check_files(store: Store, document: Snapshot, *, objects: bool) -> list[str]:
    problems = []
    for file in document.files:
        try:
            if objects:
                get_object(store, file.digest)
            else:
                store.info(keys.object_key(file.digest))
        except (KeyNotFound, DamagedObject) as exc:
            problems.append(f"{show_path(decode_path(file))} of the code snapshot {document.snapshot}: {exc}")
    return problems


def _has(store: Store, key: str) -> bool:
    try:
        store.info(key)
    except KeyNotFound:
        return False
    return True
