"""What another store has of the ended attempts of this one, and nothing here stands for."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from itertools import groupby

from tracker.store import keys
from tracker.store.base import Info, Store
from tracker.store.ids import is_id
from tracker.store.keys import JournalKey, SegmentKey
from tracker.syncing.journals import covered, parsed_segments
from tracker.upkeep.removal import goes_on, unfinished_removals

_DOCUMENTS = {"start.json", "code.json", "invocation.json", "end.json", "failure.json"}
Infos = dict[str, Info]


def lost_keys(store: Store, source: Store, run: str | None = None) -> Iterator[str]:
    """Documents and segments of attempts that are known here and over, in one run or in all that both stores have.

    Checkpoints are not among them, because this store may have thinned them out, nor are whole attempts and answers of
    replays that it may never have had: those are for a synchronisation. A segment that overlaps one of ours was made
    while the run went on; taking it over would count values twice. What an interrupted removal left is not filled up
    again: younger than the removal, it would say that somebody wants the run.
    """
    leaving = {own.run for own in unfinished_removals(store)}
    for name, own, theirs in _in_both(store, source, keys.RUNS if run is None else keys.run_folder(run)):
        if name not in leaving:
            yield from _of_run(store, name, own, theirs)


def _in_both(store: Store, source: Store, prefix: str) -> Iterator[tuple[str, Infos, Infos]]:
    """Each run with its keys here and there, where both have some: one listing of either, side by side."""
    both = heapq.merge(_told(store, prefix, is_own=True), _told(source, prefix, is_own=False), key=_run_of)
    for run, found in groupby(both, key=_run_of):
        own, theirs = Infos(), Infos()
        for info, is_own in found:
            (own if is_own else theirs)[info.key] = info
        if own and theirs:
            yield run, own, theirs


def _told(store: Store, prefix: str, *, is_own: bool) -> Iterator[tuple[Info, bool]]:
    return ((info, is_own) for info in store.list(prefix) if is_id(info.key.split("/")[1]))


def _run_of(told: tuple[Info, bool]) -> str:
    return told[0].key.split("/")[1]


def _of_run(store: Store, run: str, own: Mapping[str, Info], theirs: Mapping[str, Info]) -> Iterator[str]:
    known = {attempt for key in own if (attempt := _attempt(key)) is not None}
    going_on = {key.attempt for key in map(JournalKey.parse, (*own, *theirs)) if key is not None}
    over = {_attempt(key) for key in (*own, *theirs) if key.endswith("/end.json")}
    chosen = {each for each in (known & over) - going_on if not _is_running(store, run, each, own)}
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


def _is_running(store: Store, run: str, attempt: str, own: Mapping[str, Info]) -> bool:
    """Whether an attempt without an end here shows signs of life. A lease alone is none: who recovers a killed
    attempt leaves it, and the end may have been lost since.
    """
    lease = own.get(keys.attempt_document(run, attempt, "lease"))
    return lease is not None and keys.attempt_document(run, attempt, "end") not in own and goes_on(store, lease)


def _attempt(key: str) -> str | None:
    """The attempt that a document or a segment belongs to."""
    parts = key.split("/")
    if len(parts) == 5 and parts[2] == "attempts":
        return parts[3] if is_id(parts[3]) else None
    segment = SegmentKey.parse(key)
    return None if segment is None else segment.attempt


def _overlaps(one: SegmentKey, other: SegmentKey) -> bool:
    """Whether they hold values of the same frames; parts of one segment hold others."""
    if (one.path, one.shard) != (other.path, other.shard) or one.last < other.first or other.last < one.first:
        return False
    return (one.first, one.last) != (other.first, other.last)
