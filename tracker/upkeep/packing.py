"""Putting the records of small segments of many runs into packs: one row below the other, one column a metric."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from tracker.store import keys
from tracker.store.base import Store
from tracker.store.keys import OUTPUT_PATH
from tracker.store.segments import MAX_METRIC_COLUMNS, Piece, describe, parquet_options
from tracker.upkeep.describing import ODD, about_json

if TYPE_CHECKING:
    import pyarrow as pa

SMALL_ROWS, SMALL_BYTES = 65_536, 1 << 20  # of a segment that goes into a pack; larger ones are read where they are
GROUP_ROWS = 131_072  # of a row group: what is decoded to read one segment
PACK_BYTES = 48 << 20  # in memory, before it is compressed
_HELD_BYTES = 192 << 20  # of all packs that are being filled
_OWN = ("_run", "_shard", "_replay", "_batch")  # columns for those who read packs without us
_CONTEXT = {b"time", b"loop", b"index", b"step"}
Place = dict[str, Any]


@dataclass
class _Pack:
    """A pack that is being filled: the columns that its segments have, and their rows by row group."""

    path: str
    table: str
    number: int
    context: list[pa.Field]
    metrics: dict[str, pa.Field]
    cased: dict[str, str]  # the metrics' names in small letters: to SQL, two that differ in case are one
    loops: list[str]
    groups: list[list[tuple[Piece, str | None, pa.Table]]] = field(default_factory=lambda: [[]])
    rows: int = 0  # in the last group
    size_bytes: int = 0


class Packer:
    """Collects segments into the packs of one batch. A pack is put when it is full; memory is bounded."""

    def __init__(
        self,
        store: Store,
        batch: str,
        *,
        on_put: Callable[[int], None] = lambda size: None,
        on_damage: Callable[[str, object], None] = lambda run, why: None,
    ) -> None:
        self.store, self.batch, self.on_put, self.on_damage = store, batch, on_put, on_damage
        self._open: dict[tuple[str, str], list[_Pack]] = {}  # by path and context; a list, because columns may clash
        self._numbers: dict[str, int] = {}

    def add(self, piece: Piece) -> Place:
        """Where the index finds the segment: in a pack, or in its own file."""
        apart = {"table": "", "number": 0, "group": 0, "start": 0, "rows": 0, "about": "", "columns": ""}
        folder = keys.data_folder(piece.key.run)
        name = str(piece.key).removeprefix(folder)
        sources = json.dumps([source.removeprefix(folder) for source in piece.sources or (str(piece.key),)])
        try:
            packed = None if piece.key.path == OUTPUT_PATH or len(piece.sources) > 1 else self._pack(piece)
        except FileNotFoundError:
            raise
        except (*ODD, NotImplementedError) as exc:
            self.on_damage(piece.key.run, f"{piece.key}: {exc}")
            packed = None  # readers meet the damage themselves, and warn of it
        self._flush_full()
        return {"key": name, "sources": "" if packed else sources, **(packed or apart)}

    def _pack(self, piece: Piece) -> Place | None:
        schema = piece.schema()
        described = describe(schema)
        if len(set(schema.names)) < len(schema.names) or not isinstance(described.get("replay"), str | None):
            return None  # no writer of ours makes these
        about = about_json(described, piece.key)
        table = piece.read()
        loops = described.get("path")
        if (
            about is None
            or _clash([*_OWN, *table.column_names])
            or not isinstance(loops, list)
            or not _has_roles(table)
        ):
            return None
        if (
            table.num_rows > SMALL_ROWS
            or table.nbytes > 8 * SMALL_BYTES
            or len(table.column_names) > MAX_METRIC_COLUMNS
        ):
            return None
        table = _widened(table)
        pack = self._pack_for(piece, table, loops)
        if pack.rows and pack.rows + table.num_rows > GROUP_ROWS:
            pack.groups.append([])
            pack.rows = 0
        place = {"table": pack.table, "number": pack.number, "group": len(pack.groups) - 1, "start": pack.rows}
        pack.groups[-1].append((piece, described.get("replay"), table))
        pack.rows += table.num_rows
        pack.size_bytes += table.nbytes
        columns = json.dumps(table.column_names, ensure_ascii=False)
        return {**place, "rows": table.num_rows, "about": about, "columns": columns}

    def _pack_for(self, piece: Piece, table: pa.Table, loops: list[str]) -> _Pack:
        """An open pack whose columns mean the same as those of the table; else a new one."""
        context = [each for each in table.schema if each.metadata[b"role"] in _CONTEXT]
        metrics = {each.name: each for each in table.schema if each.metadata[b"role"] not in _CONTEXT}
        shape = blake3(repr((loops, [_told(each) for each in context])).encode()).hexdigest()[:16]
        packs = self._open.setdefault((piece.key.path, shape), [])
        taken = {each.name for each in context}
        for pack in packs:
            fits = all(_told(pack.metrics.get(name, each)) == _told(each) for name, each in metrics.items())
            fits = fits and all(pack.cased.get(name.lower(), name) == name for name in metrics)
            if fits and len(pack.metrics | metrics) <= MAX_METRIC_COLUMNS and not taken & pack.metrics.keys():
                pack.metrics |= metrics
                pack.cased |= {name.lower(): name for name in metrics}
                return pack
        number = self._numbers[shape] = self._numbers.get(shape, -1) + 1
        cased = {name.lower(): name for name in metrics}
        packs.append(_Pack(piece.key.path, shape, number, context, metrics, cased, loops))
        return packs[-1]

    def _flush_full(self) -> None:
        for pack in [each for packs in self._open.values() for each in packs if each.size_bytes > PACK_BYTES]:
            self._put(pack)
        while sum(each.size_bytes for packs in self._open.values() for each in packs) > _HELD_BYTES:
            self._put(max((each for packs in self._open.values() for each in packs), key=lambda each: each.size_bytes))

    def flush(self) -> None:
        """Put all packs that are being filled."""
        for packs in list(self._open.values()):
            for pack in list(packs):
                self._put(pack)

    def _put(self, pack: _Pack) -> None:
        import pyarrow.parquet as pq

        self._open[pack.path, pack.table].remove(pack)
        schema = _schema(pack)
        sink = BytesIO()
        with pq.ParquetWriter(sink, schema, **parquet_options(schema)) as writer:
            for group in pack.groups:
                table = _below(group, schema, self.batch)
                writer.write_table(table, row_group_size=max(1, table.num_rows))
        self.store.put(keys.index_data(pack.path, pack.table, self.batch, pack.number), sink.getbuffer())
        self.on_put(sink.tell())


def _has_roles(table: pa.Table) -> bool:
    return all(each.metadata and b"role" in each.metadata for each in table.schema)


def _clash(names: list[str]) -> bool:
    """Whether some are one name to SQL."""
    return len({name.lower() for name in names}) < len(names)


def _told(each: pa.Field) -> tuple[Any, ...]:
    return each.name, str(each.type), tuple(sorted((each.metadata or {}).items()))


def _widened(table: pa.Table) -> pa.Table:
    """The table with its floats as readers give them, so that those of all runs stand in one column."""
    import pyarrow as pa

    fields = [each.with_type(pa.float64()) if each.type == pa.float32() else each for each in table.schema]
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def _schema(pack: _Pack) -> pa.Schema:
    import pyarrow as pa

    own = [pa.field(name, pa.string(), metadata={"role": "index of Hindsight"}) for name in _OWN]
    about = {"hindsight": json.dumps({"format": 1, "path": pack.loops, "index": True})}
    return pa.schema([*own, *pack.context, *pack.metrics.values()], metadata=about)


def _below(group: list[tuple[Piece, str | None, pa.Table]], schema: pa.Schema, batch: str) -> pa.Table:
    """The tables of a row group below one another, with the columns that say whose rows they are."""
    import numpy as np
    import pyarrow as pa

    joined = pa.concat_tables([table.replace_schema_metadata(None) for _, _, table in group], promote_options="default")
    numbers = pa.array(np.repeat(np.arange(len(group), dtype=np.int32), [table.num_rows for _, _, table in group]))
    named = {
        "_run": [piece.key.run for piece, _, _ in group],
        "_shard": [piece.key.shard for piece, _, _ in group],
        "_replay": [replay for _, replay, _ in group],
        "_batch": [batch for _ in group],
    }
    arrays = []
    for each in schema:
        if each.name in named:
            arrays.append(pa.array(named[each.name], pa.string()).take(numbers))
        elif each.name in joined.column_names:
            arrays.append(joined.column(each.name))
        else:
            arrays.append(pa.nulls(joined.num_rows, each.type))
    return pa.table(arrays, schema=schema)
