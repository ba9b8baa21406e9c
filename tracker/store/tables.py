"""From the frames of a journal to wide tables: one per loop path, one row per context (docs/design/0003)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tracker.store import frames, keys
from tracker.store.arrays import bytes_array, numeric_array, time_array
from tracker.store.columns import Column, Values, build_column
from tracker.store.contexts import Contexts, resolve
from tracker.store.documents import FORMAT_NUMBER
from tracker.store.frames import Name
from tracker.store.journals import Frames
from tracker.store.timings import Timing, measure

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

TIME = "_time"


@dataclass
class Table:
    """What one segment will hold: the folder name of its loop path, and the Arrow table."""

    path: str
    table: pa.Table


@dataclass
class Tables:
    """All tables of a range of frames, with what could not be read."""

    tables: list[Table]
    records: int
    lost_records: int
    timings: dict[str, Timing]


def build_tables(journal: Frames, start: int = 0, stop: int | None = None) -> Tables:
    """The tables of the frames in slots ``start`` to ``stop`` (exclusive; default: the end).

    Definitions of names and contexts are taken from the whole journal. Records whose context or payload is damaged are
    counted as lost.
    """
    stop = journal.end if stop is None else min(stop, journal.end)
    return _Builder(journal, resolve(journal), start, stop).build()


class _Builder:
    def __init__(self, journal: Frames, contexts: Contexts, start: int, stop: int) -> None:
        self.journal, self.contexts, self.start, self.stop = journal, contexts, start, stop
        self.lost = 0
        self.metrics: list[Name] = []

    def build(self) -> Tables:
        import numpy as np

        kind = self.journal.kind[self.start : self.stop]
        slots = ((kind >= frames.FLOAT) & (kind <= frames.BIGINT)).nonzero()[0] + self.start
        nodes = self.contexts.nodes_of(self.journal.context[slots])
        metric = self._metrics_of(slots)
        found = (nodes >= 0) & (metric >= 0)
        total = len(slots)
        self.lost += total - int(found.sum())
        slots, nodes, metric = slots[found], self.contexts.canonical[nodes[found]], metric[found]

        group = self.contexts.path[nodes].astype(np.int64) * max(len(self.metrics), 1) + metric
        # 16-bit keys take NumPy's radix sort, which is several times faster.
        order = np.argsort(group.astype(np.uint16) if group.size and group.max() < 1 << 16 else group, kind="stable")
        group = group[order]
        edges = np.flatnonzero(np.r_[True, group[1:] != group[:-1], True] if len(group) else []).tolist()
        by_path: dict[int, list[tuple[int, NDArray[np.int64]]]] = {}
        for begin, end in pairwise(edges):
            path, number = divmod(int(group[begin]), len(self.metrics))
            by_path.setdefault(path, []).append((number, order[begin:end]))

        tables = [self._table(path, parts, slots, nodes) for path, parts in sorted(by_path.items())]
        output = self._output_table()
        if output is not None:
            tables.append(output)
        timings = measure(self.journal, self.contexts, self.start, self.stop)
        return Tables(tables, total, self.lost, timings)

    def _metrics_of(self, slots: NDArray[np.int64]) -> NDArray[np.int32]:
        """Index into ``self.metrics`` for each record; -1 where its name was lost."""
        import numpy as np

        numbers = (self.journal.tag[slots] & np.uint64(frames.NUMBER_MASK)).astype(np.int64)
        unique, inverse = np.unique(numbers, return_inverse=True)
        known: dict[str, int] = {}
        indices = []
        for number in unique.tolist():
            name = self.journal.name(number)
            if name is None:
                indices.append(-1)
                continue
            identity = json.dumps((name.role, name.name, name.labels), sort_keys=True)
            if identity not in known:
                known[identity] = len(self.metrics)
                self.metrics.append(name)
            indices.append(known[identity])
        return np.array(indices, np.int32)[inverse] if indices else np.zeros(0, np.int32)

    def _table(
        self,
        path: int,
        parts: list[tuple[int, NDArray[np.int64]]],
        slots: NDArray[np.int64],
        nodes: NDArray[np.int32],
    ) -> Table:
        import numpy as np

        row_nodes, rows_of = _assign_rows([nodes[positions] for _, positions in parts], len(self.contexts.parent))
        row_count = len(row_nodes)
        time = np.full(row_count, np.iinfo(np.int64).max)
        for rows, (_, positions) in zip(rows_of, parts, strict=True):
            time[rows] = np.minimum(time[rows], self.journal.time[slots[positions]])
        columns = _Columns(self.journal.header, self.contexts.paths[path])
        columns.add_time(time)
        self._add_context(columns, row_nodes, self.contexts.paths[path])
        for rows, (number, positions) in zip(rows_of, parts, strict=True):
            own = slots[positions]
            values = Values(self.journal.kind[own], self.journal.value[own], rows, self._payload_of(own))
            column = build_column(values, row_count)
            self.lost += column.damaged
            columns.add_metric(self.metrics[number], column)
        return Table(keys.path_part(self.contexts.paths[path]), columns.table(self.start, self.stop))

    def _payload_of(self, slots: NDArray[np.int64]) -> Callable[[int], bytes | None]:
        return lambda i: self.journal.payload(int(slots[i]))

    def _add_context(self, columns: _Columns, row_nodes: NDArray[np.int32], loops: tuple[str, ...]) -> None:
        """Walk all rows up to the run at once; every pass fills loops of some level and step keys."""
        import numpy as np

        contexts = self.contexts
        loop_nodes = np.zeros((len(loops), len(row_nodes)), np.int32)
        step_nodes: dict[int, NDArray[np.int32]] = {}
        cursor = row_nodes.copy()
        for _ in range(contexts.depth):
            rows = ((cursor > 0) & ~contexts.is_step[cursor]).nonzero()[0]
            loop_nodes[contexts.levels[cursor[rows]] - 1, rows] = cursor[rows]
            stepping = contexts.is_step[cursor]
            for key in np.unique(contexts.name[cursor[stepping]]).tolist():
                filled = step_nodes.setdefault(key, np.zeros(len(row_nodes), np.int32))
                rows = (stepping & (contexts.name[cursor] == key) & (filled == 0)).nonzero()[0]
                filled[rows] = cursor[rows]
            cursor = contexts.parent[cursor]
        for level, loop in enumerate(loops):
            columns.add_loop(
                loop,
                loops[:level].count(loop) + 1,
                self._loop_column(loop_nodes[level]),
                contexts.index[loop_nodes[level]],
            )
        for key, filled in sorted(step_nodes.items(), key=lambda item: contexts.names[item[0]]):
            columns.add_step(contexts.names[key], self._context_column(filled))

    def _loop_column(self, nodes: NDArray[np.int32]) -> Column | None:
        """The iterated values, or ``None`` where they are the indices."""
        kind = self.contexts.value_kind[nodes]
        is_index = (kind == 0) | ((kind == frames.INT) & (self.contexts.value[nodes] == self.contexts.index[nodes]))
        return None if bool(is_index.all()) else self._context_column(nodes)

    def _context_column(self, nodes: NDArray[np.int32]) -> Column:
        import numpy as np

        rows = nodes.nonzero()[0]
        kind = self.contexts.value_kind[nodes[rows]]
        bits = np.where(kind == 0, self.contexts.index[nodes[rows]], self.contexts.value[nodes[rows]])
        kind = np.where(kind == 0, frames.INT, kind).astype(np.uint8)
        return build_column(Values(kind, bits, rows, lambda i: _encode(self.journal.text(int(bits[i])))), len(nodes))

    def _output_table(self) -> Table | None:
        import numpy as np
        import pyarrow as pa

        kind = self.journal.kind[self.start : self.stop]
        slots = (kind == frames.OUTPUT).nonzero()[0] + self.start
        if not len(slots):
            return None
        nodes = self.contexts.nodes_of(self.journal.context[slots])
        described: dict[int, str] = {}
        lines: list[tuple[int, str, str | None, str, str]] = []
        for slot, node in zip(slots.tolist(), nodes.tolist(), strict=True):
            name = self.journal.name(int(self.journal.tag[slot]) & frames.NUMBER_MASK)
            payload = self.journal.payload(slot)
            if name is None or payload is None:
                self.lost += 1
                continue
            level = name.labels.get("level")
            text = payload.decode("utf-8", "backslashreplace")
            context = described.setdefault(node, json.dumps(self._describe(max(node, 0))))
            lines.append((int(self.journal.time[slot]), name.name, level, text, context))
        time, stream, level_column, text_column, context_column = zip(*lines, strict=True) if lines else ((),) * 5
        schema = pa.schema(
            [
                pa.field(TIME, pa.timestamp("us", tz="UTC"), metadata={"role": "time"}),
                pa.field("stream", pa.string()),
                pa.field("level", pa.string()),
                pa.field("text", pa.string()),
                pa.field("context", pa.string()),
            ],
            metadata=_table_metadata(self.journal.header, (keys.OUTPUT_PATH,), self.start, self.stop),
        )
        texts = (stream, level_column, text_column, context_column)
        arrays = [
            time_array(np.array(time, np.int64)),
            *(bytes_array([_encode(cell) for cell in column], pa.string()) for column in texts),
        ]
        return Table(keys.OUTPUT_PATH, pa.table(arrays, schema=schema))

    def _describe(self, node: int) -> dict[str, Any]:
        """Loop and step values of a node, outermost first."""
        contexts, found = self.contexts, []
        while node:
            kind, bits = int(contexts.value_kind[node]), int(contexts.value[node])
            value: Any = bits
            if kind == frames.TEXT:
                value = self.journal.text(bits)
            elif kind == frames.FLOAT:
                value = frames.SLOT_FLOAT.unpack(frames.SLOT_INT.pack(bits, 0, 0, 0))[0]
            elif kind == frames.BOOL:
                value = bits != 0
            found.append((contexts.names[contexts.name[node]], value))
            node = int(contexts.parent[node])
        return dict(reversed(found))


def _encode(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "backslashreplace")


def _assign_rows(
    nodes_by_metric: list[NDArray[np.int32]], node_count: int
) -> tuple[NDArray[np.int32], list[NDArray[np.int64]]]:
    """Rows by (context, occurrence): the n-th value of a metric in a context stands in the n-th row of that context."""
    import numpy as np

    occurrences = [_occurrences(nodes) for nodes in nodes_by_metric]
    most = max((int(found.max()) for found in occurrences if found is not None), default=0)
    if most == 0:
        present = np.zeros(node_count, bool)
        for nodes in nodes_by_metric:
            present[nodes] = True
        row_of_node = np.cumsum(present) - 1
        return present.nonzero()[0].astype(np.int32), [row_of_node[nodes] for nodes in nodes_by_metric]
    factor = most + 1
    row_keys = [
        nodes.astype(np.int64) * factor + (0 if found is None else found)
        for nodes, found in zip(nodes_by_metric, occurrences, strict=True)
    ]
    unique = np.unique(np.concatenate(row_keys))
    return (unique // factor).astype(np.int32), [np.searchsorted(unique, row_key) for row_key in row_keys]


def _occurrences(nodes: NDArray[np.int32]) -> NDArray[np.int64] | None:
    """How many earlier values the same context has; ``None`` when each context has one."""
    import numpy as np

    if bool((nodes[1:] > nodes[:-1]).all()):
        return None
    order = np.argsort(nodes, kind="stable")
    ordered = nodes[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]]
    positions = np.arange(len(nodes))
    first = np.maximum.accumulate(np.where(starts, positions, 0))
    found = np.empty(len(nodes), np.int64)
    found[order] = positions - first
    return found


class _Columns:
    """Collects the columns of one table under names that are distinct."""

    def __init__(self, header: frames.JournalHeader, loops: tuple[str, ...]) -> None:
        self.header, self.loops = header, loops
        self.fields: list[pa.Field] = []
        self.arrays: list[pa.Array] = []
        self.taken: set[str] = set()

    def _add(self, column: str, array: pa.Array, **metadata: str) -> str:
        """Append a column; returns the name that it got."""
        import pyarrow as pa

        while column in self.taken:
            column += ".logged"
        self.taken.add(column)
        self.fields.append(pa.field(column, array.type, metadata=metadata))
        self.arrays.append(array)
        return column

    def add_time(self, time: NDArray[np.int64]) -> None:
        self._add(TIME, time_array(time), role="time")

    def add_loop(self, loop: str, nth: int, column: Column | None, index: NDArray[np.int64]) -> None:
        name = loop if nth == 1 else f"{loop}.{nth}"
        if column is None:
            self._add(name, numeric_array(index), role="loop", name=loop, kind="int")
        else:
            self._add(name, column.array, role="loop", name=loop, kind=column.kind)
            self._add(f"{name}.index", numeric_array(index), role="index", name=loop, kind="int")

    def add_step(self, key: str, column: Column) -> None:
        self._add(key, column.array, role="step", name=key, kind=column.kind)

    def add_metric(self, metric: Name, column: Column) -> None:
        metadata = {"name": metric.name, "labels": json.dumps(metric.labels), "kind": column.kind}
        name = self._add(metric_column(metric), column.array, role=metric.role, **metadata)
        if column.none is not None:
            self._add(f"{name}.none", numeric_array(column.none), role="none", name=name)

    def table(self, start: int, stop: int) -> pa.Table:
        import pyarrow as pa

        metadata = _table_metadata(self.header, self.loops, start, stop)
        return pa.table(self.arrays, schema=pa.schema(self.fields, metadata=metadata))


def _table_metadata(header: frames.JournalHeader, loops: tuple[str, ...], start: int, stop: int) -> dict[str, str]:
    described = {
        "format": FORMAT_NUMBER,
        "run": header.run,
        "attempt": header.attempt,
        "shard": header.shard,
        "path": list(loops),
        "first": header.first + start,
        "last": header.first + stop - 1,
        "replay": None,
    }
    return {"hindsight": json.dumps(described)}


def metric_column(metric: Name) -> str:
    """The column of a metric: its name, and its labels in braces: ``norm{layer=3}``."""
    if not metric.labels:
        return metric.name
    return f"{metric.name}{{{','.join(f'{key}={_label(value)}' for key, value in sorted(metric.labels.items()))}}}"


_AMBIGUOUS = frozenset('",={}')


def _label(value: Any) -> str:
    """A label's value as text; a text is quoted where it could be taken for something else."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return json.dumps(value, ensure_ascii=False) if _AMBIGUOUS & set(value) else value
    return json.dumps(value, ensure_ascii=False)
