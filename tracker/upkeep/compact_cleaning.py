"""Removing what the index does not need any more, once nobody can be reading it."""

from __future__ import annotations

import time

from tracker.read.index import Index, load_index
from tracker.store import ids, keys
from tracker.store.base import Info, Store
from tracker.upkeep.compact_summary import CompactSummary

_STRAY_S = 86_400.0  # a compaction that puts packs publishes them long before that, or was killed


def clean(store: Store, summary: CompactSummary, *, grace_s: float) -> None:
    """Delete batches that others have replaced for ``grace_s`` seconds, and packs that no batch names.

    Rows first, packs after them: a kill in between leaves packs without rows, which go with a later call.
    """
    index = load_index(store, on_damage=lambda key, why: None)  # it was told when the index was read at the beginning
    if index is None:
        return
    infos = list(store.list(keys.INDEX_RUNS))
    ages = {_batch_of(info.key): _age_s(info) for info in infos}
    live = index.batches.keys() | (index.damaged - index.replaced)
    known = set(index.listing.batches)  # others were published since, and nobody has looked into them
    replaced = [info.key for info in infos if _batch_of(info.key) in known - live]
    old = [key for key in replaced if _unread_s(index, key, ages) >= grace_s]
    store.delete(old)
    removed = {_batch_of(key) for key in old}
    strays = max(grace_s, _STRAY_S)
    packs = [
        info.key
        for info in store.list(keys.INDEX_DATA)
        if _batch_of(info.key) in removed or (_batch_of(info.key) not in ages and _age_s(info) >= strays)
    ]
    store.delete(packs)
    summary.removed += len(old) + len(packs)


def _unread_s(index: Index, key: str, ages: dict[str, float]) -> float:
    """For how long nobody has begun to read a batch: since the oldest was written that replaces it."""
    name = _batch_of(key)
    replacing = [ages.get(batch.name, 0.0) for batch in index.batches.values() if name in batch.about.replaces]
    return max(replacing, default=ages[name])  # replaced by none: it is of an index that was deleted


def _batch_of(key: str) -> str:
    return key.rsplit("/", 1)[1][: ids.ID_LENGTH]


def _age_s(info: Info) -> float:
    """By the clock of the store and by that of whoever made the batch, whichever says less."""
    name = _batch_of(info.key)
    if not ids.is_id(name):
        return 0.0
    now = time.time()
    return min(now - ids.created_ms(name) / 1000, now - (info.modified if info.modified is not None else 0.0))
