"""What another store has of the ended attempts of this one, and nothing here stands for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tracker.store import keys
from tracker.store.base import Store
from tracker.store.ids import is_id
from tracker.store.keys import JournalKey, SegmentKey
from tracker.syncing.journals import covered, parsed_segments

_DOCUMENTS = {"start.json", "code.json", "invocation.json", "end.json"}


def lost_keys(store: Store, source: Store, run: str | None = None) -> Iterator[str]:
    """Documents and segments of attempts that are known here and over, in one run or in all that both stores have.

    Checkpoints are not among them, because this store may have thinned them out, nor are whole attempts and answers of
    replays that it may never have had: those are for a synchronisation. A segment that overlaps one of ours was made
    while the run went on; taking it over would count values twice.
    """
    runs = store.folders(keys.RUNS) if run is None else [run]
    theirs = set(source.folders(keys.RUNS))
    for name in runs:
        if is_id(name) and name in theirs:
            folder = keys.run_folder(name)
            own = {info.key for info in store.list(folder)}
            yield from _of_run(own, {info.key for info in source.list(folder)})


def _of_run(own: Collection[str], theirs: Collection[str]) -> Iterator[str]:
    known = {attempt for key in own if (attempt := _attempt(key)) is not None}
    going_on = {key.attempt for key in map(JournalKey.parse, (*own, *theirs)) if key is not None}
    going_on |= {key.split("/")[3] for key in own if key.endswith("/lease.json") and _end(key) not in own}
    over = {key.split("/")[3] for key in (*own, *theirs) if key.endswith("/end.json") and _attempt(key) is not None}
    chosen = (known & over) - going_on
    here = parsed_segments(key for key in own if key.endswith(".parquet"))
    unneeded = covered([*own, *theirs]) | set(own)
    for key in sorted(theirs):
        if key in unneeded or _attempt(key) not in chosen:
            continue
        segment = SegmentKey.parse(key)
        if segment is None:
            if key.rsplit("/", 1)[1] in _DOCUMENTS:
                yield key
        elif not any(_overlaps(segment, other) for other in here):
            yield key


def _attempt(key: str) -> str | None:
    """The attempt that a document or a segment belongs to."""
    parts = key.split("/")
    if len(parts) == 5 and parts[2] == "attempts":
        return parts[3]
    segment = SegmentKey.parse(key)
    return None if segment is None else segment.attempt


def _end(lease: str) -> str:
    return lease.removesuffix("lease.json") + "end.json"


def _overlaps(one: SegmentKey, other: SegmentKey) -> bool:
    """Whether they hold values of the same frames; parts of one segment hold others."""
    if (one.path, one.shard) != (other.path, other.shard) or one.last < other.first or other.last < one.first:
        return False
    return (one.first, one.last) != (other.first, other.last)
