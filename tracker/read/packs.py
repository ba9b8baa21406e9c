"""Packs: the records of small segments of many runs below one another in one file of the index (docs/design/0017)."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
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
from tracker.store.keys import OUTPUT_PATH, SegmentKey
from tracker.store.segments import Piece

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_CACHED_BYTES = 256 << 20


class Packs:
    """The packs of an index; columns of row groups are kept a while, because runs beside each other share them.

    Safe in threads. A file is read once for what many runs need of it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._files: dict[str, _File] = {}
        self._layouts: dict[tuple[str, str, str], Layout] = {}
        self._columns: OrderedDict[tuple[str, int, str], pa.ChunkedArray] = OrderedDict()
        self._held_bytes = 0
        self._lock = threading.Lock()

    def file(self, key: str) -> _File:
        """The opened pack of this key."""
        with self._lock:
            found = self._files.setdefault(key, _File(self.store, key))
        found.open()
        return found

    def layout(self, key: str, columns: str, about: str) -> Layout:
        """What the columns of a segment in a pack mean; parsed once for all segments that are alike."""
        found = self._layouts.get((key, columns, about))
        if found is None:
            schema = self.file(key).schema(json.loads(columns), json.loads(about))
            found = self._layouts[key, columns, about] = layout.parse(schema)
        return found

    def columns(self, key: str, group: int, names: Sequence[str]) -> list[pa.ChunkedArray]:
        """Columns of a row group, read together where they are not at hand."""
        file = self.file(key)
        with file.lock:
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
    """One pack; opened by the first who needs it."""

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.key = store, key
        self.lock = threading.RLock()
        self._opened: Any = None

    def open(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self.lock:
            if self._opened is None:
                path = self.store.local_path(self.key)
                try:
                    source = self.store.open(self.key) if path is None else path
                    self._opened = pq.ParquetFile(source, memory_map=path is not None, page_checksum_verification=True)
                except FileNotFoundError:
                    raise
                except (pa.ArrowException, OSError, ValueError) as exc:
                    raise DamagedSegment(f"{self.key} is not a readable part of the index: {exc}") from exc
        return self._opened

    def schema(self, columns: Sequence[str], about: dict[str, Any]) -> pa.Schema:
        """The schema of a segment in it: some of its columns, under the segment's own metadata."""
        import pyarrow as pa

        with self.lock:
            whole = self.open().schema_arrow
        if not set(columns) <= set(whole.names):
            raise DamagedSegment(f"{self.key} lacks columns that the index names")
        fields = [whole.field(name) for name in columns]
        return pa.schema(fields, metadata={"hindsight": json.dumps(about)})

    def read(self, group: int, columns: list[str]) -> pa.Table:
        import pyarrow as pa

        try:
            return self.open().read_row_group(group, columns=columns, use_threads=False)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError, IndexError) as exc:
            raise DamagedSegment(f"{self.key} is damaged: {exc}") from exc


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
        file = self.packs.file(self.place[0])
        return file.schema(json.loads(self.columns_json), described(self.about, self.key))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The columns in the order asked (default: all)."""
        names = json.loads(self.columns_json) if columns is None else list(columns)
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
            sources = json.loads(fields["sources"][number])
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
