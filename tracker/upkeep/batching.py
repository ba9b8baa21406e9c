"""Writing a batch of the index: packs first, then the rows that name them, so that a batch that is seen is whole."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from tracker.read.batches import About, runs_schema
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.segments import Piece
from tracker.upkeep.compact_summary import Counts
from tracker.upkeep.packing import Packer, Place

_GROUP_ROWS = 10_000


class BatchWriter:
    """Collects rows and segments; ``publish`` makes the batch visible at once. A kill before that leaves packs that
    nobody names, which a later compaction removes.
    """

    def __init__(self, store: Store, counts: Counts) -> None:
        self.store, self.counts = store, counts
        self.name = ids.new_id()
        self.rows = 0
        self._waiting: list[dict[str, Any]] = []
        self._tables: list[Any] = []
        self._packer = Packer(store, self.name, on_put=counts.put, on_damage=counts.damaged)

    def place(self, piece: Piece) -> Place:
        """Where readers of this batch will find a segment; its rows go into a pack where that is worth it."""
        return self._packer.add(piece)

    def add(self, row: dict[str, Any], segments: list[Place]) -> None:
        """A row, and where the segments of its run are."""
        self._waiting.append({**row, "batch": self.name, "segments": segments})
        self.rows += 1
        if len(self._waiting) >= _GROUP_ROWS:
            self._settle()

    def _settle(self) -> None:
        """Turn the waiting rows into a table, which takes less memory."""
        import pyarrow as pa

        schema = runs_schema(About(format=1, generation=""))
        self._tables.append(pa.Table.from_pylist(self._waiting, schema=schema))
        self._waiting = []

    def publish(self, about: About) -> None:
        """Put the packs, then the rows. Two batches never share a name, so nothing is overwritten."""
        import pyarrow.parquet as pq

        self._packer.flush()
        self._settle()
        schema = runs_schema(about)
        sink = BytesIO()
        with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
            for table in self._tables:
                writer.write_table(table.replace_schema_metadata(schema.metadata), row_group_size=_GROUP_ROWS)
        self.store.put(keys.index_runs(self.name), sink.getbuffer())
        self.counts.put(sink.tell())
