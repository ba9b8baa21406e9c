"""Writes small stores for the reader's tests, from docs/design/0001 and 0003 alone, without the recording code."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import EndDocument, RunDocument, encode

START = 1_700_000_000.0  # Unix seconds


@dataclass(frozen=True)
class It:
    """One iteration of a loop; without a value the index stands for it."""

    loop: str
    index: int
    value: Any = None

    @property
    def shown(self) -> Any:
        return self.index if self.value is None else self.value


@dataclass(frozen=True)
class Key:
    """One step key."""

    key: str
    value: Any


Context = tuple[It | Key, ...]


@dataclass(frozen=True)
class Logged:
    """One record."""

    context: Context
    name: str
    value: Any
    labels: dict[str, Any] = field(default_factory=dict)
    role: str = "metric"
    time: float = START

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(frame.loop for frame in self.context if isinstance(frame, It))


class Writer:
    """One shard of one attempt of a run."""

    def __init__(self, store: Store, run: str, attempt: str, suffix: str = "", replay: str | None = None) -> None:
        self.store, self.run, self.attempt, self.replay = store, run, attempt, replay
        self.shard = f"{attempt}_{suffix}" if suffix else attempt
        self.next = 1

    def seal(self, *records: Logged, stated: dict[str, Any] | None = None) -> list[str]:
        """Write the records as segments, one for each path; returns their keys."""
        first, last = self.next, self.next + len(records) - 1
        self.next = last + 1
        written = []
        for path in dict.fromkeys(record.path for record in records):
            own = [record for record in records if record.path == path]
            key = str(keys.SegmentKey(self.run, keys.path_part(path), self.shard, first, last))
            about = {"format": 1, "run": self.run, "attempt": self.attempt, "shard": self.shard, "path": list(path)}
            about |= {"first": first, "last": last, "replay": self.replay} | (stated or {})
            self.store.put(key, _parquet(_table(own, path, about)))
            written.append(key)
        return written


def make_run(store: Store, *, end: bool = True, **about: Any) -> str:
    """The documents of a run; with ``end`` those of one that has finished."""
    run = about.pop("run", None) or ids.new_id()
    end_about = {"status": "finished", "ended": START + 60, "arguments": about.pop("arguments", {})}
    end_about["summary"] = about.pop("summary", {})
    document = RunDocument(**({"run": run, "project": "demo", "created": START, "script": "train.py"} | about))
    store.put(keys.run_document(run), encode(document))
    if end:
        store.put(keys.attempt_document(run, run, "end"), encode(EndDocument(**end_about)))
    return run


def log_run(store: Store, *records: Logged, **about: Any) -> str:
    """A finished run with these records in one segment a path."""
    run = make_run(store, **about)
    Writer(store, run, run).seal(*records)
    return run


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _table(records: list[Logged], path: tuple[str, ...], about: dict[str, Any]) -> pa.Table:
    rows: dict[tuple[Context, int], dict[Any, Any]] = {}
    counts: dict[tuple[Context, str], int] = {}
    metrics: dict[str, Logged] = {}
    for record in records:
        column = _column(record)
        metrics.setdefault(column, record)
        nth = counts[record.context, column] = counts.get((record.context, column), -1) + 1
        rows.setdefault((record.context, nth), {("time",): record.time})[column] = (record.value,)
    fields, arrays = [], []

    def add(name: str, array: pa.Array, /, **metadata: str) -> None:
        while name in [known.name for known in fields]:
            name += ".logged"
        fields.append(pa.field(name, array.type, metadata=metadata))
        arrays.append(array)

    moments = [int(row[("time",)] * 1e6) for row in rows.values()]
    add("_time", pa.array(moments, pa.timestamp("us", tz="UTC")), role="time")
    for level, loop in enumerate(path):
        frames = [[frame for frame in context if isinstance(frame, It)][level] for context, _ in rows]
        nth = path[: level + 1].count(loop)
        name = loop if nth == 1 else f"{loop}.{nth}"
        array, kind = _array([frame.shown for frame in frames])
        add(name, array, role="loop", name=loop, kind=kind)
        if any(frame.value is not None for frame in frames):
            add(f"{name}.index", pa.array([frame.index for frame in frames]), role="index", name=loop, kind="int")
    stepped = {frame.key for context, _ in rows for frame in context if isinstance(frame, Key)}
    for key in sorted(stepped):
        found = [{f.key: f.value for f in context if isinstance(f, Key)}.get(key) for context, _ in rows]
        array, kind = _array(found)
        add(key, array, role="step", name=key, kind=kind)
    for column, record in metrics.items():
        cells = [row.get(column, ()) for row in rows.values()]
        array, kind = _array([cell[0] if cell else None for cell in cells])
        about_metric = {"name": record.name, "labels": json.dumps(record.labels), "kind": kind}
        add(column, array, role=record.role, **about_metric)
        if (None,) in cells:
            name = fields[-1].name
            add(f"{name}.none", pa.array([cell == (None,) for cell in cells]), role="none", name=name)
    return pa.table(arrays, schema=pa.schema(fields, metadata={"hindsight": json.dumps(about)}))


def _column(record: Logged) -> str:
    if not record.labels:
        return record.name
    shown = {k: f'"{v}"' if isinstance(v, str) and v.isdigit() else v for k, v in sorted(record.labels.items())}
    return record.name + "{" + ",".join(f"{key}={value}" for key, value in shown.items()) + "}"


def _array(values: list[Any]) -> tuple[pa.Array, str]:
    found = {type(value) for value in values if value is not None}
    large = any(type(value) is int and not -(2**63) <= value < 2**63 for value in values)
    if found <= {float} or (found == {int, float} and all(abs(v) <= 2**53 for v in values if type(v) is int)):
        return _floats([None if value is None else float(value) for value in values]), "float"
    if found == {int} and not large:
        return pa.array(values, pa.int64()), "int"
    if found == {int}:
        return pa.array([None if value is None else str(value) for value in values], pa.string()), "bigint"
    if len(found) == 1:
        plain = {bool: ("bool", pa.bool_()), str: ("str", pa.string()), bytes: ("bytes", pa.binary())}
        if (only := next(iter(found))) in plain:
            return pa.array(values, plain[only][1]), plain[only][0]
    return pa.array(
        [None if value is None else json.dumps(value, default=_bytes) for value in values], pa.string()
    ), "json"


def _floats(values: list[float | None]) -> pa.Array:
    wide = pa.array(values, pa.float64())
    narrow = wide.cast(pa.float32(), safe=False)
    same = [a == b or a != a for a, b in zip(narrow.to_pylist(), wide.to_pylist(), strict=True)]
    return narrow if all(same) else wide


def _bytes(value: bytes) -> dict[str, str]:
    return {"$bytes": base64.b64encode(value).decode()}
