"""Views of runs from the index of a store, and from the runs that changed since it was written."""

from __future__ import annotations

import time
from collections.abc import Collection

import msgspec

from tracker.errors import Corrupt, KeyNotFound
from tracker.read.batches import GONE
from tracker.read.catalog import RunView, build_view, documents_of, scan_runs
from tracker.read.index import Index, Row, load_index
from tracker.read.notices import left_out
from tracker.read.packs import Packed, Packs
from tracker.store import ids, keys
from tracker.store.base import Store

_documents = msgspec.json.Decoder(dict[str, msgspec.Raw])


def scan_index(store: Store, wanted: Collection[str] | None = None) -> list[RunView] | None:
    """All runs of a store, or those with these ids, oldest first; ``None`` when its index is of no use.

    The same views as those of ``scan_runs``. The index is listed first, then new runs are, and changed ones are read
    last, so what happens in between is seen either way.
    """
    index = load_index(store)
    if index is None or not index.is_whole:
        return None
    now, packs = time.time(), Packs(store)
    chosen = [row for run, row in index.rows.items() if index.settled(row) and (wanted is None or run in wanted)]
    if wanted is not None:
        direct = set(wanted) - {row.run for row in chosen}
    else:
        direct = index.direct | _new(store, index)
        if len(direct) > len(chosen):
            return None
    try:
        views = [view for row in chosen if (view := _view(index, packs, row, now)) is not None]
    except KeyNotFound:
        return None  # the index was deleted since it was opened
    direct |= {row.run for row in chosen} - {view.run for view in views}
    if direct:
        views += scan_runs(store, direct)
    return sorted(views, key=lambda view: view.run)


def _new(store: Store, index: Index) -> set[str]:
    """The runs behind the horizon that have no row, or were removed and are there again."""
    there = {name for name in store.folders(keys.RUNS, after=index.horizon) if ids.is_id(name)}
    return {run for run in there if (row := index.rows.get(run)) is None or row.state == GONE}


def _view(index: Index, packs: Packs, row: Row, now: float) -> RunView | None:
    """The view of a run by its row; ``None`` when the row cannot be used."""
    folder = keys.run_folder(row.run)
    try:
        held = _documents.decode(row.batch.documents[row.number])
        names = documents_of((folder + name, None) for name in held)

        def get(key: str) -> bytes:
            found = held.get(key.removeprefix(folder))
            if found is None:
                raise KeyNotFound(f"the index has no {key}")
            return bytes(found)

        view = build_view(index.store, row.run, names.get(row.run, {}), now, get=get, located=_located(packs, row))
    except (Corrupt, msgspec.MsgspecError, TypeError, ValueError, RecursionError) as exc:
        left_out(
            keys.index_runs(row.batch.name), f"its row of {row.run} cannot be used ({exc}); the run itself is read"
        )
        return None
    return view if view is not None and view.run == row.run else None


def _located(packs: Packs, row: Row) -> Packed:
    return Packed(packs, row.batch, row.number)
