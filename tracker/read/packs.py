"""Packs: the records of small segments of many runs below one another in one file of the index (docs/design/0017)."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tracker.errors import BadKey, DamagedSegment
from tracker.read import layout
from tracker.read.batches import Batch, described
from tracker.read.layout import Layout
from tracker.read.notices import left_out
from tracker.read.source import Part, as_part
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.columns import read_json
from tracker.store.decoding import decoding
from tracker.store.keys import OUTPUT_PATH, SegmentKey
from tracker.store.segments import Piece

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_CACHED_BYTES = 256 << 20
MOST_OPEN = 32  # files; each is a descriptor, or a megabyte that was fetched from a server


class Packs:
    """The packs of an index; columns of row groups are kept a while, because runs beside each other share them.

    Safe in threads. A file is read once for what many runs need of it. Of all that were opened the footers are kept,
    and few stay open: an index has as many packs as its runs have kinds of tables.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._files: dict[str, _File] = {}
        self._open: OrderedDict[str, _File] = OrderedDict()  # the last one was used last
        self._layouts: dict[tuple[str, str, str], Layout] = {}
        self._columns: OrderedDict[tuple[str, int, str], pa.ChunkedArray] = OrderedDict()
        self._held_bytes = 0
        self._lock = threading.Lock()

    @contextmanager
    def _file(self, key: str) -> Iterator[_File]:
        """The pack of this key, for one at a time; it is closed when many others have been used after it."""
        with self._lock:
            found = self._files.setdefault(key, _File(self.store, key))
        with found.lock:
            try:
                yield found
            finally:
                self._used(found)

    def _used(self, file: _File) -> None:
        with self._lock:
            if file.opened is not None:
                self._open[file.key] = file
                self._open.move_to_end(file.key)
            while len(self._open) > MOST_OPEN:
                _, oldest = self._open.popitem(last=False)
                oldest.opened = None  # whoever reads it at this moment holds it, and is not disturbed

    def schema(self, key: str, columns: Sequence[str], about: dict[str, Any]) -> pa.Schema:
        """The schema of a segment in a pack."""
        with self._file(key) as file:
            return file.schema(columns, about)

    def layout(self, key: str, columns: str, about: str) -> Layout:
        """What the columns of a segment in a pack mean; parsed once for all segments that are alike."""
        found = self._layouts.get((key, columns, about))
        if found is None:
            schema = self.schema(key, read_json(columns), read_json(about))
            found = self._layouts[key, columns, about] = layout.parse(schema)
        return found

    def columns(self, key: str, group: int, names: Sequence[str]) -> list[pa.ChunkedArray]:
        """Columns of a row group, read together where they are not at hand."""
        with self._file(key) as file:
            with self._lock:
                found = {name: self._columns.get((key, group, name)) for name in names}
            lacking = [name for name, column in found.items() if column is None]
            if lacking:
                table = file.read(group, lacking)
                found |= {name: table.column(name) for name in lacking}
                with self._lock:
                    self._keep({(key, group, name): table.column(name) for name in lacking})
        return [column for name in names if (column := found[name]) is not None]

    def _keep(self, columns: dict[tuple[str, int, str], pa.ChunkedArray]) -> None:
        for place, column in columns.items():
            self._columns[place] = column
            self._held_bytes += column.nbytes
        while self._held_bytes > _MOST_CACHED_BYTES and len(self._columns) > len(columns):
            _, dropped = self._columns.popitem(last=False)
            self._held_bytes -= dropped.nbytes


class _File:
    """One pack; opened by whoever needs it, and again where it was closed in between. One uses it at a time."""

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.key = store, key
        self.lock = threading.RLock()
        self.opened: Any = None
        self._footer: Any = None
        self._schema: pa.Schema | None = None

    def _open(self) -> Any:
        import pyarrow.parquet as pq

        found = self.opened
        if found is None:
            path = self.store.local_path(self.key)
            with decoding(self.store, self.key, f"{self.key} is not a readable part of the index"):
                source = self.store.open(self.key) if path is None else path
                found = pq.ParquetFile(
                    source, metadata=self._footer, memory_map=path is not None, page_checksum_verification=True
                )
                self._footer, self._schema = found.metadata, found.schema_arrow
            self.opened = found
        return found

    def schema(self, columns: Sequence[str], about: dict[str, Any]) -> pa.Schema:
        """The schema of a segment in it: some of its columns, under the segment's own metadata."""
        import pyarrow as pa

        whole = self._schema if self._schema is not None else self._open().schema_arrow
        if not set(columns) <= set(whole.names):
            raise DamagedSegment(f"{self.key} lacks columns that the index names")
        fields = [whole.field(name) for name in columns]
        return pa.schema(fields, metadata={"hindsight": json.dumps(about)})

    def read(self, group: int, columns: list[str]) -> pa.Table:
        """Columns of a row group."""
        file = self._open()
        with decoding(self.store, self.key, f"{self.key} is damaged"):
            return file.read_row_group(group, columns=columns, use_threads=False)


@dataclass(eq=False)
class PackedPiece(Piece):
    """A segment whose rows are read from a pack; from its own file where the pack turns out to be damaged."""

    packs: Packs | None = None
    place: tuple[str, int, int, int] = ("", 0, 0, 0)  # key of the pack, row group, first row, rows
    columns_json: str = "[]"
    about: str = "{}"

    def schema(self) -> pa.Schema:
        """Fields with their metadata, and the segment's own metadata."""
        assert self.packs is not None
        return self.packs.schema(self.place[0], read_json(self.columns_json), described(self.about, self.key))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The columns in the order asked (default: all)."""
        names = read_json(self.columns_json) if columns is None else list(columns)
        try:
            return self._read(names)
        except DamagedSegment as exc:
            left_out(self.place[0], f"{exc}; the segments themselves are read")
            return Piece(self.key, self.store, (str(self.key),)).read(columns)

    def _read(self, names: list[str]) -> pa.Table:
        import pyarrow as pa

        assert self.packs is not None
        key, group, start, rows = self.place
        found = self.packs.columns(key, group, names) if names else []
        if min(group, start, rows) < 0 or any(len(column) < start + rows for column in found):
            raise DamagedSegment(f"{key} has fewer rows than the index says")
        return pa.Table.from_arrays([column.slice(start, rows) for column in found], names=names)


@dataclass(eq=False)
class Packed:
    """What the index knows of the data of one run; ``stale`` once something of it has vanished."""

    packs: Packs
    batch: Batch
    row: int
    stale: bool = field(default=False)

    def parts(self, *, paths: Collection[str] | None = None) -> list[Part]:
        """The readable pieces of the run, sorted as those that are listed; captured output only if asked for.

        ``DamagedSegment`` when the index says what cannot be.
        """
        try:
            return self._parts(paths)
        except (BadKey, ValueError, TypeError, KeyError, IndexError) as exc:
            raise DamagedSegment(f"{keys.index_runs(self.batch.name)} says what cannot be: {exc}") from exc

    def _parts(self, paths: Collection[str] | None) -> list[Part]:
        segments = self.batch.segments
        found = []
        for number in range(segments.offsets[self.row], segments.offsets[self.row + 1]):
            key = self._key(segments.fields["key"][number])
            if key.path != OUTPUT_PATH if paths is None else key.path in paths:
                part = self._part(key, number)
                if part is not None:
                    found.append(part)
        return sorted(found, key=lambda part: part.piece.key)

    def pieces(self) -> list[tuple[int, Piece]]:
        """All pieces of the run with their numbers among the batch's segments."""
        segments = self.batch.segments
        numbers = range(segments.offsets[self.row], segments.offsets[self.row + 1])
        return [(number, self._piece(self._key(segments.fields["key"][number]), number)) for number in numbers]

    def _key(self, name: str) -> SegmentKey:
        key = SegmentKey.parse(f"{keys.data_folder(self.batch.runs[self.row])}{name}")
        if key is None:
            raise BadKey(f"{name!r} in {keys.index_runs(self.batch.name)} is not the name of a segment")
        return key

    def _piece(self, key: SegmentKey, number: int) -> Piece:
        fields = self.batch.segments.fields
        table = fields["table"][number]
        if not table:
            sources = read_json(fields["sources"][number])
            folder = keys.data_folder(key.run)
            return Piece(key, self.packs.store, tuple(keys.check(f"{folder}{name}") for name in sources))
        pack = keys.index_data(key.path, table, self.batch.name, fields["number"][number])
        place = (pack, fields["group"][number], fields["start"][number], fields["rows"][number])
        about, columns = fields["about"][number], fields["columns"][number]
        return PackedPiece(key, self.packs.store, packs=self.packs, place=place, columns_json=columns, about=about)

    def _part(self, key: SegmentKey, number: int) -> Part | None:
        piece = self._piece(key, number)
        if isinstance(piece, PackedPiece):
            try:
                return Part(piece, self.packs.layout(piece.place[0], piece.columns_json, piece.about))
            except (DamagedSegment, ValueError, TypeError, AttributeError) as exc:
                left_out(piece.place[0], f"{exc}; the segments themselves are read")
                piece = Piece(key, self.packs.store, (str(key),))
        return as_part(piece)
