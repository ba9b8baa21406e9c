"""Merging batches of the index that have become many or hold many rows that no longer count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracker.read.batches import FORMAT_NUMBER, OPEN, SETTLED, About, Batch, runs_schema
from tracker.read.index import Index
from tracker.read.packs import Packed, PackedPiece, Packs
from tracker.store.base import Store
from tracker.upkeep.batching import BatchWriter
from tracker.upkeep.compact_summary import Counts
from tracker.upkeep.describing import ODD
from tracker.upkeep.packing import Place

FACTOR = 8  # batches of one size that are merged: each row is written again once for each power of ten of runs
MOST_ROWS = 50_000  # of a batch, which stand in memory while it is written; larger ones are left as they are
_DEAD_SHARE, _WORTH_ROWS = 0.3, 1000
_MOST_REPLACED = 5000  # names that a batch remembers to have replaced, the youngest


def merge_batches(store: Store, index: Index, generation: str, counts: Counts) -> int:
    """Write one batch for many, where that is due; how many were taken in. The old ones stay until they are cleaned."""
    chosen = choose(index)
    if len(chosen) < 2 and not any(_dead(index, batch) for batch in chosen):
        return 0
    writer, packs = BatchWriter(store, counts), Packs(store)
    for batch in chosen:
        for row, segments in _rows(index, packs, batch, writer):
            writer.add(row, segments)
    names = {batch.name for batch in chosen}
    replaced = sorted(names | index.replaced)[-_MOST_REPLACED:]
    live = tuple(name for name in index.batches if name not in names)
    about = About(
        format=FORMAT_NUMBER, generation=generation, replaces=tuple(replaced), live=live, horizon=index.horizon
    )
    writer.publish(about)
    return len(chosen)


def choose(index: Index) -> list[Batch]:
    """The batches to merge: those with many rows that other batches have replaced, and many of one size.

    The former first, because each is written again only once. Those of one size whose two smallest are too large
    together stay as they are: of one alone nothing comes.
    """
    kept = {name: len(batch.runs) - _dead(index, batch) for name, batch in index.batches.items()}
    worn = {name: batch for name, batch in index.batches.items() if _is_worn(batch, kept[name])}
    by_level: dict[int, list[Batch]] = defaultdict(list)
    for batch in sorted(index.batches.values(), key=lambda batch: kept[batch.name]):
        by_level[len(str(len(batch.runs)))].append(batch)
    many: list[Batch] = []
    for _, batches in sorted(by_level.items()):
        if len(batches) + bool(many) >= FACTOR and sum(kept[batch.name] for batch in batches[:2]) <= MOST_ROWS:
            many += batches
    return _up_to(MOST_ROWS, [*worn.values(), *(batch for batch in many if batch.name not in worn)], kept)


def _dead(index: Index, batch: Batch) -> int:
    return sum(1 for number in range(len(batch.runs)) if not _holds(index, batch, number))


def _is_worn(batch: Batch, kept: int) -> bool:
    dead = len(batch.runs) - kept
    return kept == 0 or (dead >= _WORTH_ROWS and dead > _DEAD_SHARE * len(batch.runs))


def _up_to(most: int, batches: Sequence[Batch], kept: Mapping[str, int]) -> list[Batch]:
    found, rows = [], 0
    for batch in batches:
        if rows + kept[batch.name] <= most:
            found.append(batch)
            rows += kept[batch.name]
    return found


def _holds(index: Index, batch: Batch, number: int) -> bool:
    """Whether a row still says something: it is the one that counts, or contradicts the one that does."""
    row = index.rows[batch.runs[number]]
    if row.batch is batch and row.number == number:
        return True
    said = batch.states[number], batch.fingerprints[number]
    return row.version == batch.versions[number] and (row.state, row.fingerprint) != said


Rows = Iterator[tuple[dict[str, Any], list[Place]]]


def _rows(index: Index, packs: Packs, batch: Batch, writer: BatchWriter) -> Rows:
    """The rows of a batch that still say something, with their segments put into the new batch's packs."""
    columns = [name for name in runs_schema(batch.about).names if name != "segments"]
    number = -1
    for group in range(batch.file.metadata.num_row_groups):
        for row in batch.file.read_row_group(group, columns=columns).to_pylist():
            number += 1
            if not _holds(index, batch, number):
                continue
            try:
                yield row, _places(Packed(packs, batch, number), writer) if row["state"] == SETTLED else []
            except (FileNotFoundError, *ODD):  # its run is read anew the next time
                own = {name: row[name] for name in ("run", "version")}
                yield {**own, "state": OPEN, "fingerprint": ""}, []


def _places(packed: Packed, writer: BatchWriter) -> list[Place]:
    fields = packed.batch.segments.fields
    return [
        writer.place(piece) if isinstance(piece, PackedPiece) else {name: fields[name][number] for name in fields}
        for number, piece in packed.pieces()
    ]
