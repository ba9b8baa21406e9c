"""One batch of the index: the rows of some runs in a Parquet file, and where their records stand (docs/design/0017)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from tracker.errors import DamagedSegment, KeyNotFound
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.columns import read_json
from tracker.store.decoding import decoding

if TYPE_CHECKING:
    import pyarrow as pa

SETTLED = "settled"  # the row says all that there is to know of the run
OPEN = "open"  # the run goes on, or cannot be told whole: it is read itself
GONE = "gone"  # the run was removed
FORMAT_NUMBER = 1
_METADATA = b"hindsight"
_FIRST_COLUMNS = ["run", "version", "state", "fingerprint"]
MOST_ROWS = 10_000_000


class IndexFormat(msgspec.Struct, frozen=True, kw_only=True):
    """``index/format.json``: batches of another generation than this one are nobody's."""

    format: int
    generation: str
    created: float


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch says of itself.

    ``replaces``: batches whose rows it has taken over. ``live``: those that stood beside it when it was written. Each
    run with an id below ``horizon`` has a row in one of them; an empty horizon says nothing.
    """

    format: int
    generation: str
    replaces: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    horizon: str = ""


def runs_schema(about: About) -> pa.Schema:
    """The columns of a batch: some for people and their queries, and those that the reader needs."""
    import pyarrow as pa

    moment, text = pa.timestamp("us", tz="UTC"), pa.string()
    segment = [("key", text), ("about", text), ("table", text), ("number", pa.int32()), ("group", pa.int32())]
    segment += [("start", pa.int64()), ("rows", pa.int64()), ("columns", text), ("sources", text)]
    fields = [
        *(("run", text), ("version", pa.int64()), ("state", text), ("fingerprint", text), ("batch", text)),
        *(("project", text), ("name", text), ("script", text), ("parent", text), ("tags", pa.list_(text))),
        *(("pinned", pa.bool_()), ("started", moment), ("ended", moment), ("duration", pa.float64())),
        *(("status", text), ("attempts", pa.int32()), ("arguments", text), ("summary", text)),
        *(("documents", text), ("segments", pa.list_(pa.struct(segment)))),
    ]
    return pa.schema(fields, metadata={_METADATA: msgspec.json.encode(about)})


@dataclass(frozen=True)
class Segments:
    """The segments of all rows of a batch; those of row ``i`` stand between two offsets."""

    offsets: list[int]
    fields: dict[str, list[Any]]


@dataclass(eq=False)
class Batch:
    """A batch that was opened; its larger columns are read when they are asked for. Safe in threads."""

    store: Store = field(repr=False)
    name: str
    about: About
    file: Any = field(repr=False)
    runs: list[str] = field(repr=False)
    versions: list[int] = field(repr=False)
    states: list[str] = field(repr=False)
    fingerprints: list[str] = field(repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)  # PyArrow's file bears one reader a time
    _documents: list[str] | None = field(default=None, repr=False)
    _segments: Segments | None = field(default=None, repr=False)

    @property
    def documents(self) -> list[str]:
        """For every row a JSON object of the run's documents by their keys below the run's folder."""
        with self._lock:
            if self._documents is None:
                self._documents = self._column("documents").to_pylist()
            return self._documents

    @property
    def segments(self) -> Segments:
        """Where the records of the rows are."""
        with self._lock:
            if self._segments is None:
                self._segments = self._read_segments()
            return self._segments

    def _read_segments(self) -> Segments:
        import numpy as np

        column = self._column("segments").combine_chunks()
        chunks = column.chunks if hasattr(column, "chunks") else [column]
        offsets: list[int] = [0]
        fields: dict[str, list[Any]] = {}
        for chunk in chunks:
            begins = chunk.offsets.to_numpy()
            offsets += (np.asarray(begins[1:], np.int64) - begins[0] + offsets[-1]).tolist()
            flat = chunk.flatten()
            for each in flat.type:
                fields.setdefault(each.name, []).extend(flat.field(each.name).to_pylist())
        return Segments(offsets, fields)

    def _column(self, name: str) -> Any:
        key = keys.index_runs(self.name)
        with decoding(self.store, key, f"{key} is damaged"):
            return self.file.read(columns=[name]).column(0)


def open_batch(store: Store, name: str) -> Batch:
    """The batch of this name; ``DamagedSegment`` says why it cannot be used, ``KeyNotFound`` that it is gone.

    ``Unavailable`` when the store does not answer.
    """
    import pyarrow.parquet as pq

    key = keys.index_runs(name)
    path = store.local_path(key)
    try:
        with decoding(store, key, "it is not a readable batch of the index"):
            file = pq.ParquetFile(store.open(key) if path is None else path, page_checksum_verification=True)
            about = msgspec.json.decode((file.schema_arrow.metadata or {})[_METADATA], type=About)
            if about.format > FORMAT_NUMBER:
                raise ValueError(f"it has format {about.format}, this version reads up to {FORMAT_NUMBER}")
            _check_columns(file.schema_arrow, runs_schema(about))
            if file.metadata.num_rows > MOST_ROWS:
                raise ValueError(f"it claims {file.metadata.num_rows:,} rows")
            table = file.read(columns=_FIRST_COLUMNS)
            rows = [table.column(column).to_pylist() for column in _FIRST_COLUMNS]
    except FileNotFoundError as exc:
        raise KeyNotFound(f"there is no {key} in {store.url}") from exc
    batch = Batch(store, name, about, file, *rows)
    _check(batch)
    return batch


def _check_columns(found: pa.Schema, wanted: pa.Schema) -> None:
    """That all columns are there that readers will ask for, each once and of its type; others do no harm."""
    for each in wanted:
        number = found.get_field_index(each.name)
        if number < 0 or found.field(number).type != each.type:
            said = "it is not there once" if number < 0 else f"it is {found.field(number).type}"
            raise ValueError(f"the column {each.name!r} should be {each.type}, and {said}")


def _check(batch: Batch) -> None:
    """That the rows name runs and say what they are; more is not believed before it is used."""
    known = {SETTLED, OPEN, GONE}
    for run, version, state in zip(batch.runs, batch.versions, batch.states, strict=True):
        if not isinstance(run, str) or not ids.is_id(run) or not isinstance(version, int) or state not in known:
            raise DamagedSegment(f"it has a row of the run {run!r} in the state {state!r}, version {version!r}")
    if not all(ids.is_id(name) for name in (*batch.about.replaces, *batch.about.live)):
        raise DamagedSegment("it speaks of batches that cannot be")


def described(segment_about: str, key: keys.SegmentKey) -> dict[str, Any]:
    """The metadata of a segment, put together from what the index keeps of it."""
    own = {"run": key.run, "attempt": key.attempt, "shard": key.shard, "first": key.first, "last": key.last}
    found = read_json(segment_about)
    if not isinstance(found, dict):
        raise DamagedSegment(f"the index says {segment_about!r} of {key}")
    return own | found
