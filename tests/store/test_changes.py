"""Notes for the index: none where there is none, and one in time where it comes in the middle of a change."""

from __future__ import annotations

from tracker.store import keys
from tracker.store.base import Store
from tracker.store.changes import changing, note_change, note_changes
from tracker.store.ids import new_id
from tracker.store.memory import MemoryStore


def noted(store: Store) -> list[str]:
    """The runs that readers read themselves, once for each note."""
    return [info.key.removeprefix(keys.INDEX_CHANGED).split("/")[0] for info in store.list(keys.INDEX_CHANGED)]


def test_without_an_index_nothing_is_noted() -> None:
    """A run that is recorded into a store that nobody compacts writes no key for it."""
    store = MemoryStore(new_id())
    run = new_id()
    with changing(store, run):
        note_change(store, run)

    assert list(store.list()) == []


def test_an_index_that_comes_during_a_change_is_told_after_it() -> None:
    """A compaction says that there is an index before it reads the first run."""
    store = MemoryStore(new_id())
    first, second, third = sorted(new_id() for _ in range(3))
    with changing(store, first):
        store.put(keys.INDEX_FORMAT, b"{}")
    note_changes(store, [third, second])

    assert noted(store) == [first, second, third]
