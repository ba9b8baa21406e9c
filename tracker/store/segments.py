"""Segments: Parquet files whose names say which frames they cover, and what a run's data consists of."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from tracker.errors import DamagedJournal, NewerFormat
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.columns import read_json
from tracker.store.decoding import decoding
from tracker.store.documents import FORMAT_NUMBER
from tracker.store.journals import Frames, read_journal
from tracker.store.keys import JournalKey, SegmentKey
from tracker.store.tables import build_tables

if TYPE_CHECKING:
    import pyarrow as pa

MAX_METRIC_COLUMNS = 500
_ADVICE = "; `hindsight verify` lists the damage"
_WORTH_THREADS = 100_000  # cells; fewer are decoded sooner than they are handed to threads
_CONTEXT_ROLES = {b"time", b"loop", b"index", b"step"}


@dataclass
class Piece:
    """One segment, or what a live journal would become.

    ``sources`` are the keys of its parts in the store; a piece that was read from a journal holds its table instead.
    """

    key: SegmentKey
    store: Store
    sources: tuple[str, ...] = ()
    table: pa.Table | None = None
    _schema: pa.Schema | None = field(default=None, repr=False)
    _footers: dict[str, Any] = field(default_factory=dict, repr=False)  # by source, so that each is read once

    def schema(self) -> pa.Schema:
        """Fields with their metadata, and the table's metadata under ``hindsight``."""
        if self._schema is None:
            if self.table is not None:
                self._schema = self.table.schema
            else:
                self._schema = _merge_schemas([self._open(source).schema_arrow for source in self.sources])
        return self._schema

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The columns in the order asked (default: all). ``DamagedSegment`` names the key that cannot be read."""
        if self.table is not None:
            return self.table if columns is None else self.table.select(list(columns))
        wanted = self.schema().names if columns is None else list(columns)
        found: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        for source in self.sources:
            file = self._open(source)
            here = [name for name in wanted if name in file.schema_arrow.names and name not in found]
            if here:
                threads = file.metadata.num_rows * len(here) >= _WORTH_THREADS
                with decoding(self.store, source, f"{source} is damaged", _ADVICE):
                    part = file.read(columns=here, use_threads=threads)
                found.update({name: part.column(name) for name in here})
                fields.update({name: part.schema.field(name) for name in here})
        import pyarrow as pa

        schema = pa.schema([fields[name] for name in wanted], metadata=self.schema().metadata)
        return pa.table([found[name] for name in wanted], schema=schema)

    def _open(self, source: str) -> Any:
        file = _open(self.store, source, self._footers.get(source))
        self._footers[source] = file.metadata
        return file


def _merge_schemas(schemas: list[pa.Schema]) -> pa.Schema:
    merged = schemas[0]
    for schema in schemas[1:]:
        for part_field in schema:
            if part_field.name not in merged.names:
                merged = merged.append(part_field)
    return merged


def _open(store: Store, key: str, footer: Any = None) -> Any:
    """The Parquet file behind a key, with its format checked; a footer that was read before is not read again."""
    import pyarrow.parquet as pq

    path = store.local_path(key)
    with decoding(store, key, f"{key} is not a readable segment", _ADVICE):
        file = pq.ParquetFile(
            store.open(key) if path is None else path,
            metadata=footer,
            memory_map=path is not None,
            page_checksum_verification=True,
        )
        described = describe(file.schema_arrow)
    if described["format"] > FORMAT_NUMBER:
        raise NewerFormat(
            f"{key} has format {described['format']}, this version reads up to {FORMAT_NUMBER}; upgrade to read it"
        )
    return file


def describe(schema: pa.Schema) -> dict[str, Any]:
    """The table metadata of a segment: format, run, attempt, shard, path, first, last, replay."""
    text = (schema.metadata or {}).get(b"hindsight")
    if text is None:
        raise ValueError("it has no metadata of ours")
    described = read_json(text)
    if not isinstance(described, dict) or not isinstance(described.get("format"), int):
        raise ValueError("its metadata has no format number")
    return described


def pieces(store: Store, run: str, *, paths: Collection[str] | None = None) -> list[Piece]:
    """What the data of a run consists of, sorted by path, shard and first frame.

    Live journals are listed before segments, and covered pieces are dropped, so each committed frame is seen exactly
    once, also while a writer seals. Journals with a damaged header hold nothing readable and are left to ``hindsight
    verify``.
    """
    journals = _list_journals(store, run)
    sources: dict[SegmentKey, list[str]] = {}
    for info in store.list(keys.data_folder(run)):
        key = SegmentKey.parse(info.key)
        if key is not None and (paths is None or key.path in paths):
            whole = SegmentKey(key.run, key.path, key.shard, key.first, key.last)
            sources.setdefault(whole, []).append(info.key)
    found = [Piece(key, store, tuple(sorted(parts))) for key, parts in uncovered(sources).items()]
    for journal in journals:
        found += _unsealed(store, journal, [piece.key for piece in found], paths)
    return sorted(found, key=lambda piece: piece.key)


def uncovered(sources: dict[SegmentKey, list[str]]) -> dict[SegmentKey, list[str]]:
    """The segments that no other segment covers."""
    kept: dict[SegmentKey, list[str]] = {}
    last: SegmentKey | None = None
    for key in sorted(sources, key=lambda key: (key.path, key.shard, key.first, -key.last)):
        if last is None or not last.covers(key):
            kept[key] = sources[key]
            last = key
    return kept


def last_record(store: Store, run: str, attempt: str) -> float:
    """When the last frame was committed in the journals of an attempt, in Unix seconds; 0 where there are none."""
    own = [journal.last_ns for journal in _list_journals(store, run) if journal.header.attempt == attempt]
    return max(own, default=0) / 1e9


def _list_journals(store: Store, run: str) -> list[Frames]:
    found = []
    # The newest first: a journal lies there before the one ahead of it is full, and read in the order of writing, it
    # could show records that follow others which came after the older one was read.
    for info in reversed(list(store.list(keys.journal_folder(run)))):
        key = JournalKey.parse(info.key)
        path = store.local_path(info.key)
        if key is None or path is None:
            continue
        try:
            found.append(read_journal(path))
        except DamagedJournal:
            continue  # nothing in it can be read
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            # sealed since the listing
    return found


def _unsealed(
    store: Store, journal: Frames, sealed: Iterable[SegmentKey], paths: Collection[str] | None
) -> list[Piece]:
    """The tables of a journal without the frames that segments of the same path already hold."""
    shard, base = journal.header.shard, journal.first
    sealed_to: dict[str, int] = {}
    for key in sealed:
        if key.shard == shard and base <= key.last < base + journal.layout.slots and key.first >= base:
            sealed_to[key.path] = max(sealed_to.get(key.path, base), key.last + 1)
    found = []
    for start in sorted({base, *sealed_to.values()}):
        for table in build_tables(journal, start - base).tables:
            if sealed_to.get(table.path, base) == start and (paths is None or table.path in paths):
                key = SegmentKey(journal.header.run, table.path, shard, start, base + max(journal.end, 1) - 1)
                found.append(Piece(key, store, table=table.table))
    return found


def encode_parts(table: pa.Table) -> list[bytes]:
    """The Parquet bytes of a table; more than one where it has very many metric columns."""
    context = (
        [
            name
            for name, field in zip(table.column_names, table.schema, strict=True)
            if field.metadata[b"role"] in _CONTEXT_ROLES
        ]
        if _has_roles(table)
        else []
    )
    metrics = [name for name in table.column_names if name not in set(context)]
    if not context or len(metrics) <= MAX_METRIC_COLUMNS:
        return [_encode(table)]
    return [
        _encode(table.select(context + metrics[begin : begin + MAX_METRIC_COLUMNS]))
        for begin in range(0, len(metrics), MAX_METRIC_COLUMNS)
    ]


def _has_roles(table: pa.Table) -> bool:
    return all(field.metadata and b"role" in field.metadata for field in table.schema)


def _encode(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    sink = BytesIO()
    pq.write_table(table, sink, **parquet_options(table.schema))
    return sink.getvalue()


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """Delta-encoded integers and times, byte-stream-split floats, dictionaries for texts; zstd over all."""
    import pyarrow as pa

    encodings: dict[str, str] = {}
    dictionaries = []
    for column in schema:
        if pa.types.is_floating(column.type):
            encodings[column.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_integer(column.type) or pa.types.is_timestamp(column.type):
            encodings[column.name] = "DELTA_BINARY_PACKED"
        elif pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            dictionaries.append(column.name)
    return {
        "compression": "zstd",
        "use_dictionary": dictionaries,
        "column_encoding": encodings,
        "write_page_checksum": True,
    }


def publish(store: Store, key: SegmentKey, table: pa.Table) -> None:
    """Write a segment; its parts first, so that the segment itself is complete once it is seen."""
    for part, data in reversed(list(enumerate(encode_parts(table)))):
        store.put(str(SegmentKey(key.run, key.path, key.shard, key.first, key.last, part)), data)
