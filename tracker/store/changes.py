"""Telling the index that a run changes: small keys that are written around the change (docs/design/0017)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tracker.errors import KeyNotFound
from tracker.store import ids, keys
from tracker.store.base import Store


def note_change(store: Store, run: str) -> None:
    """Note that a run changes, before the change and after it; readers then read the run itself and not the index.

    Every writer calls it that changes a run which may have ended: its documents, its segments, or whether it exists.
    Each call writes a key of its own, so writers never meet; safe in threads, and harmless where there is no index.
    """
    store.put(keys.change_marker(run, ids.new_id()), b"")


@contextmanager
def changing(store: Store, run: str) -> Iterator[None]:
    """Change a run that may have ended: noted before, so that nobody reads old rows, and again after.

    The second note is for a compaction that read the run in between. It is written also when the change failed, because
    a part of it may have happened.
    """
    note_change(store, run)
    try:
        yield
    finally:
        note_change(store, run)


def note_changes(store: Store, runs: Iterable[str]) -> None:
    """Note the change of many runs, where the store has an index; without one this is a single request."""
    names = sorted(set(runs))
    if names and has_index(store):
        for run in names:
            note_change(store, run)


def has_index(store: Store) -> bool:
    """Whether the store was ever compacted, and its index was not deleted since."""
    try:
        store.info(keys.INDEX_FORMAT)
    except KeyNotFound:
        return False
    return True
