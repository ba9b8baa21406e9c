"""Compaction: what readers ask of all runs, merged into few files (docs/design/0017)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgspec

from tracker.errors import KeyExists, StoreUnavailable
from tracker.read.batches import FORMAT_NUMBER, GONE, OPEN, SETTLED, About, IndexFormat
from tracker.read.index import Index, Listing, list_index, load_index, read_generation
from tracker.read.parallel import is_local
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import encode
from tracker.store.segments import Piece
from tracker.upkeep.batching import BatchWriter
from tracker.upkeep.compact_cleaning import clean
from tracker.upkeep.compact_covered import CoveredSegments
from tracker.upkeep.compact_merging import merge_batches
from tracker.upkeep.compact_summary import CompactProgress, CompactSummary, Counts, OnCompactProgress
from tracker.upkeep.describing import ODD, Description, describe_run

GRACE_S = 3600.0  # nobody reads that long from what was replaced
MARGIN_S = 86_400.0  # by which clocks may be wrong that ids are made with
RUNS_OF_A_BATCH = 20_000  # bounds memory, and what a kill throws away
_AT_ONCE = 512  # runs that are read before their segments are packed
_THREADS, _LOCAL_THREADS = 16, 4


def compact(
    store: Store,
    *,
    full: bool = False,
    dry_run: bool = False,
    grace_s: float = GRACE_S,
    on_progress: OnCompactProgress | None = None,
) -> CompactSummary:
    """Bring the index of a store up to date: read the runs that are new or changed, and merge what has become many.

    Safe beside writers, readers and other compactions, and killed at any moment: runs are only read, a batch is seen
    when it is whole, and what it replaces stays for ``grace_s`` seconds, so that those who read it can end.
    ``full`` reads every run anew, whatever the index says; ``dry_run`` writes nothing. Memory is bounded.
    """
    began = time.monotonic()
    compaction = _Compaction(store, CompactSummary(store.url, dry_run), full, grace_s, on_progress)
    compaction.run()
    compaction.summary.duration_s = time.monotonic() - began
    return compaction.summary


def horizon_of(now_ms: int, newest: str) -> str:
    """The id below which no run is expected to appear any more: a day before the newest run, or before now.

    By the run's clock too, because that of the machine which compacts may be ahead of those that record.
    """
    newest_ms = ids.created_ms(newest) if newest else 0
    return ids.first_id(min(now_ms, newest_ms) - int(MARGIN_S * 1000))


class _Compaction:
    def __init__(
        self,
        store: Store,
        summary: CompactSummary,
        full: bool,
        grace_s: float,
        on_progress: OnCompactProgress | None,
    ) -> None:
        self.store, self.summary, self.full, self.grace_s = store, summary, full, grace_s
        self.counts = Counts(summary)
        self._covered = CoveredSegments(store, self.counts)
        self._tell = on_progress or (lambda progress: None)

    def run(self) -> None:
        began_ms = int(time.time() * 1000)
        generation = self._generation()
        index, listing = load_index(self.store), list_index(self.store)
        # Markers are listed before the runs are, and those of them deleted that were seen here.
        if index is not None:
            listing = index.listing
        there = [name for name in self.store.folders(keys.RUNS) if ids.is_id(name)]
        self.summary.runs = len(there)
        wanted = self._wanted(index, listing, there)
        horizon = horizon_of(began_ms, max(there, default=""))
        if self.summary.dry_run:
            self._count(wanted, index)
            return
        published = self._index(wanted, index, listing, generation, horizon)
        self._forget(listing, wanted)
        if published:
            index = load_index(self.store)
        if index is not None and index.is_whole:
            self.summary.merged_batches = merge_batches(self.store, index, generation, self.counts)
        clean(self.store, self.summary, grace_s=self.grace_s)

    def _generation(self) -> str:
        """The generation of batches that is in force; the first compaction says it."""
        found = read_generation(self.store)
        if found is not None or self.summary.dry_run:
            return found or ""
        mine = IndexFormat(format=FORMAT_NUMBER, generation=ids.new_id(), created=time.time())
        with suppress(KeyExists):
            self.store.create(keys.INDEX_FORMAT, encode(mine))
        found = read_generation(self.store)
        if found is None:
            raise StoreUnavailable(f"{keys.INDEX_FORMAT} cannot be used; delete the folder index/ and compact anew")
        return found

    def _wanted(self, index: Index | None, listing: Listing, there: list[str]) -> list[str]:
        """The runs to read: those without a row that holds, and those whose folder has gone."""
        if index is None or self.full or not index.is_whole:
            return sorted({*there, *listing.changes, *(() if index is None else index.rows)})
        found = {run for run in there if (row := index.rows.get(run)) is None or not index.settled(row)}
        found |= listing.changes.keys()
        lost = index.rows.keys() - set(there)
        return sorted(found | {run for run in lost if index.rows[run].state != GONE})

    def _count(self, wanted: list[str], index: Index | None) -> None:
        known = set() if index is None else {run for run, row in index.rows.items() if row.state != GONE}
        for run, found in self._described(wanted):
            self.summary.indexed += found is not None and found.state == SETTLED
            self.summary.gone += found is None and run in known
            self._tally(found)

    def _tally(self, found: Description | None) -> None:
        """Count a run that the index cannot tell, by what keeps it."""
        if found is not None and found.state == OPEN:
            self.summary.open += 1
            self.summary.unreadable += bool(found.problem)
            self.summary.without_end += not found.problem and not found.goes_on

    def _described(self, wanted: Sequence[str]) -> Iterator[tuple[str, Description | None]]:
        """The runs as they are, a bounded number at a time."""
        threads = _LOCAL_THREADS if is_local(self.store) else _THREADS
        with ThreadPoolExecutor(threads, "hindsight-compact") as pool:
            for start in range(0, len(wanted), _AT_ONCE):
                chunk = wanted[start : start + _AT_ONCE]
                yield from zip(chunk, pool.map(self._describe, chunk), strict=True)
                self.summary.read += len(chunk)
                self._tell(CompactProgress("reading runs", self.summary.read, len(wanted)))

    def _describe(self, run: str) -> Description | None:
        try:
            found = describe_run(self.store, run)
        except ODD as exc:
            found = Description(run, OPEN, problem=str(exc))
        if found is not None and found.problem:
            self.counts.damaged(run, found.problem)
        for piece in found.pieces if found is not None else ():
            self._prepare(piece)
        return found

    def _prepare(self, piece: Piece) -> None:
        """Read the footer of a segment, here, where many are read at once."""
        try:
            piece.schema()
        except FileNotFoundError:
            pass  # whoever reads the rest of it finds out
        except ODD as exc:
            self.counts.damaged(piece.key.run, exc)

    def _index(self, wanted: list[str], index: Index | None, listing: Listing, generation: str, horizon: str) -> bool:
        """Write batches with the rows of these runs; whether any was written.

        The last one states the horizon, and takes the place of damaged batches, whose runs have their rows by then.
        """
        writer, published = BatchWriter(self.store, self.counts), list[str]()
        live = tuple(index.batches) if index is not None else ()
        about = About(format=FORMAT_NUMBER, generation=generation, live=live)
        for run, found in self._described(wanted):
            row = self._row(run, found, index, is_noted=run in listing.changes)
            if row is None:
                continue
            self._add(writer, row, found)
            if writer.rows >= RUNS_OF_A_BATCH:
                self._publish(writer, about)
                published.append(writer.name)
                writer = BatchWriter(self.store, self.counts)
        if not writer.rows and not published and (index is None or index.is_whole):
            return False
        damaged = tuple(sorted(index.damaged)) if index is not None else ()
        about = msgspec.structs.replace(about, live=(*live, *published), replaces=damaged, horizon=horizon)
        self._publish(writer, about)
        return True

    def _add(self, writer: BatchWriter, row: dict[str, Any], found: Description | None) -> None:
        try:
            places = [writer.place(piece) for piece in found.pieces] if found is not None else []
            if found is not None and found.covered:
                self._covered.note(found, places)
        except FileNotFoundError:  # compacted or removed since it was listed: it is read anew the next time
            row, places = {"run": row["run"], "version": row["version"], "state": OPEN, "fingerprint": ""}, []
        writer.add(row, places)

    def _publish(self, writer: BatchWriter, about: About) -> None:
        self.summary.covered += self._covered.remove()
        writer.publish(about)

    def _row(
        self, run: str, found: Description | None, index: Index | None, *, is_noted: bool
    ) -> dict[str, Any] | None:
        """The new row of a run; ``None`` where the one that it has says the same, or where none is needed.

        The note of a change goes, so a run that was noted has a row of the next version whatever it says: it
        contradicts that of another compaction, which may have read the run before the change.
        """
        before = None if index is None else index.rows.get(run)
        state, fingerprint = (GONE, "") if found is None else (found.state, found.fingerprint)
        self._tally(found)
        same = before is not None and (before.state, before.fingerprint) == (state, fingerprint)
        is_torn = index is not None and run in index.torn
        unneeded = (same and not (self.full and state == SETTLED)) or (before is None and state == GONE)
        if unneeded and not is_torn and not is_noted:
            return None
        self.summary.indexed += state == SETTLED
        self.summary.gone += state == GONE and before is not None and before.state != GONE
        version = 1 if before is None else before.version + 1
        row = {} if found is None else found.row
        return {**row, "run": run, "version": version, "state": state, "fingerprint": fingerprint}

    def _forget(self, listing: Listing, wanted: list[str]) -> None:
        """Delete the markers that were there before the runs were read."""
        done = set(wanted)
        seen = [key for run, markers in listing.changes.items() for key in markers if run in done]
        self.store.delete(seen)
        self.summary.removed += len(seen)
