"""Sealing: publishing the frames of a journal as segments, with what the end of an attempt needs to know about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tracker.store import keys
from tracker.store.base import Store
from tracker.store.columns import cell_decoder
from tracker.store.documents import LoopTiming
from tracker.store.journals import Frames
from tracker.store.keys import SegmentKey
from tracker.store.segments import describe, pieces, publish
from tracker.store.tables import Tables, build_tables
from tracker.store.timings import Timing

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Totals:
    """What adds up over the sealed journals of an attempt: counts, run-level values, arguments and loop timings."""

    records: int = 0
    lost_records: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, Timing] = field(default_factory=dict)
    last_ns: int = 0  # Unix time of the last frame

    def take_run_level(self, table: pa.Table) -> None:
        """Take in the last values of a table of the run's own level."""
        for role, name, value in last_values(table):
            (self.arguments if role == "argument" else self.summary)[name] = value

    def add(self, other: Totals) -> None:
        """Take in a later journal: its run-level values replace earlier ones."""
        self.records += other.records
        self.lost_records += other.lost_records
        self.last_ns = max(self.last_ns, other.last_ns)
        self.arguments.update(other.arguments)
        self.summary.update(other.summary)
        for path, timing in other.timings.items():
            self.timings.setdefault(path, Timing()).add(timing)

    def timing_documents(self) -> dict[str, LoopTiming]:
        """Timings as they stand in an end document."""
        return {path: timing.document() for path, timing in sorted(self.timings.items())}


@dataclass
class Sealed:
    """What one sealing published."""

    segments: list[SegmentKey] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)


def seal(store: Store, journal: Frames, start: int = 0, stop: int | None = None) -> Sealed:
    """Publish the frames in slots ``start`` to ``stop`` (exclusive; default: the end) of a journal, one segment per
    loop path.

    Doing it twice publishes the same keys with the same content. A crash in between leaves some of the segments;
    sealing the whole journal later covers them.
    """
    stop = journal.end if stop is None else stop
    if stop <= start:
        return Sealed()
    built = build_tables(journal, start, stop)
    header = journal.header
    sealed = Sealed(totals=_total(journal, built))
    for table in built.tables:
        key = SegmentKey(header.run, table.path, header.shard, header.first + start, header.first + stop - 1)
        publish(store, key, table.table)
        sealed.segments.append(key)
    return sealed


def tally(journal: Frames) -> Totals:
    """What sealing a journal would add up to, for an attempt that ends while its store is away."""
    return _total(journal, build_tables(journal))


def _total(journal: Frames, built: Tables) -> Totals:
    totals = Totals(built.records, built.lost_records, timings=built.timings, last_ns=journal.last_ns)
    for table in built.tables:
        if table.path == keys.RUN_PATH:
            totals.take_run_level(table.table)
    return totals


def run_level(store: Store, run: str, attempt: str) -> Totals:
    """The arguments and the last run-level values in all segments of an attempt."""
    found = Totals()
    for piece in pieces(store, run, paths=[keys.RUN_PATH]):
        if piece.key.attempt == attempt and describe(piece.schema()).get("replay") is None:
            found.take_run_level(piece.read())
    return found


def last_values(table: pa.Table) -> Iterator[tuple[str, str, Any]]:
    """Role, column and last value of every metric and argument outside all loops and steps."""
    for position, column in enumerate(table.schema):
        if column.metadata[b"role"] == b"step":  # a value inside a step says something of the step, not of the run
            table = table.filter(table.column(position).is_null())
    for position, column in enumerate(table.schema):
        role = column.metadata[b"role"].decode()
        if role not in ("metric", "argument"):
            continue
        cells = table.column(position).drop_null()
        if len(cells):
            cell = cells[-1].as_py()
            decode = cell_decoder(column.metadata[b"kind"].decode())
            yield role, column.name, decode(cell) if decode else cell
        elif f"{column.name}.none" in table.column_names:
            yield role, column.name, None


def remove_covered(store: Store, sealed: Sealed) -> None:
    """Delete the smaller segments that freshly published ones cover; readers that hold them list again."""
    if not sealed.segments:
        return
    covered = []
    for info in store.list(keys.data_folder(sealed.segments[0].run)):
        key = SegmentKey.parse(info.key)
        if key is None:
            continue
        if any(own.covers(key) and (own.first, own.last) != (key.first, key.last) for own in sealed.segments):
            covered.append(info.key)
    store.delete(covered)
