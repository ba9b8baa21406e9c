"""Telling the index that a run changes: small keys that are written around the change (docs/design/0017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tracker.store import ids, keys
from tracker.store.base import Store, has

Each = Callable[[Callable[[str], None], Iterable[str]], object]


def _in_turn(note: Callable[[str], None], runs: Iterable[str]) -> None:
    for run in runs:
        note(run)


def note_change(store: Store, run: str) -> None:
    """Note that a run changes, before the change and after it; readers then read the run itself and not the index.

    Every writer calls it that changes a run which may have ended: its documents, its segments, or whether it exists.
    Each call writes a key of its own, so writers never meet; safe in threads. Without an index this is a single look:
    whoever makes one says so before reading any run, so the note after the change finds it.
    """
    note_changes(store, [run])


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


def note_changes(store: Store, runs: Iterable[str], *, each: Each = _in_turn) -> None:
    """Note the change of many runs, where the store has an index; ``each`` may do so in threads."""
    names = sorted(set(runs))
    if names and has_index(store):
        each(lambda run: store.put(keys.change_marker(run, ids.new_id()), b""), names)


def has_index(store: Store) -> bool:
    """Whether the store was ever compacted, and its index was not deleted since."""
    return has(store, keys.INDEX_FORMAT)
