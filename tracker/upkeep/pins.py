"""Tags and pins of runs that were recorded before."""

from __future__ import annotations

from collections.abc import Iterable

from tracker.errors import RunNotFound
from tracker.read.catalog import RunView, scan
from tracker.store.base import Store
from tracker.store.changes import note_changes
from tracker.store.marks import add_mark, check_changes


def change_tags(store: Store, runs: Iterable[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> list[str]:
    """Add and remove tags of runs, given by full id; returns those that changed.

    Each change is one small new document, so it merges with what others change here or in a copy of the store; of two
    changes of one tag the later wins. Doing it again changes nothing. ``RunNotFound`` before anything is changed.
    """
    added, removed = list(dict.fromkeys(add)), list(dict.fromkeys(remove))
    check_changes(added, removed)
    changed = []
    for view in _views(store, runs):
        fresh = [tag for tag in added if tag not in view.tags]
        gone = [tag for tag in removed if tag in view.tags]
        if fresh or gone:
            _mark(store, view.run, add=fresh, remove=gone)
            changed.append(view.run)
    return changed


def change_pins(store: Store, runs: Iterable[str], *, pinned: bool) -> list[str]:
    """Pin runs, so that no policy removes them, or unpin them; returns those that changed."""
    changed = []
    for view in _views(store, runs):
        if view.pinned != pinned:
            _mark(store, view.run, pinned=pinned)
            changed.append(view.run)
    return changed


def _views(store: Store, runs: Iterable[str]) -> list[RunView]:
    wanted = list(dict.fromkeys(runs))
    found = scan(store, wanted) if wanted else []
    lacking = set(wanted) - {view.run for view in found}
    if lacking:
        raise RunNotFound(f"{store.url} has no readable run {min(lacking)}; `hindsight runs` lists those that it has")
    return found


def _mark(
    store: Store, run: str, *, add: Iterable[str] = (), remove: Iterable[str] = (), pinned: bool | None = None
) -> None:
    note_changes(store, [run])
    try:
        add_mark(store, run, add=tuple(add), remove=tuple(remove), pinned=pinned)
    finally:
        note_changes(store, [run])
