"""Publishing the answers of a slice as segments of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracker.read.batch import Batch
from tracker.read.layout import Metric
from tracker.read.values import Column
from tracker.replay.relogged import Logged, Path, present
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.changes import changing
from tracker.store.documents import FORMAT_NUMBER
from tracker.store.ids import ALPHABET, SHORT_LENGTH
from tracker.store.keys import SegmentKey
from tracker.store.segments import publish
from tracker.store.tables import TIME

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Filed:
    """What was published: how many values, under which keys."""

    values: int = 0
    segments: tuple[str, ...] = ()


def shard_of(replay: str, number: int) -> str:
    """The shard of a slice. Shards sort as their slices do, so that repeated values of several slices keep order."""
    digits = []
    for _ in range(SHORT_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return f"{replay}_{''.join(reversed(digits))}"


def file_answers(store: Store, run: str, answers: Logged, *, replay: str, number: int, fidelity: str) -> Filed:
    """Publish one segment for each loop path.

    Doing it twice, or twice at once, publishes the same keys; each put is atomic, and a crash in between leaves some of
    the segments, which the next try replaces.
    """
    with changing(store, run):
        return _publish(store, run, answers, replay=replay, number=number, fidelity=fidelity)


def _publish(store: Store, run: str, answers: Logged, *, replay: str, number: int, fidelity: str) -> Filed:
    shard = shard_of(replay, number)
    values, published = 0, []
    for path, batch in sorted(answers.items()):
        batch = with_values(batch)
        if not len(batch):
            continue
        key = SegmentKey(run, keys.path_part(path), shard, 1, len(batch))
        about = {"format": FORMAT_NUMBER, "run": run, "attempt": key.attempt, "shard": shard, "path": list(path)}
        about |= {"first": key.first, "last": key.last, "replay": replay, "fidelity": fidelity, "slice": number}
        publish(store, key, _table(batch, path, about))
        published.append(str(key))
        values += sum(int(present(column).sum()) for column in batch.metrics.values())
    return Filed(values, tuple(published))


def with_values(batch: Batch) -> Batch:
    """The rows that hold a value of any metric."""
    import numpy as np

    found = np.zeros(len(batch), bool)
    for values in batch.metrics.values():
        found |= present(values)
    return batch if found.all() else batch.take(np.flatnonzero(found))


def _table(batch: Batch, path: Path, about: Mapping[str, Any]) -> pa.Table:
    import pyarrow as pa

    columns = _Columns()
    if batch.time is not None:
        columns.add(TIME, batch.time, role="time")
    for position, level in enumerate(batch.contexts.levels):
        nth = path[: position + 1].count(level.name)
        name = level.name if nth == 1 else f"{level.name}.{nth}"
        columns.add(name, level.values, role="loop", name=level.name, kind=level.values.kind)
        if not level.index_is_value:
            columns.add_array(f"{name}.index", pa.array(level.index), role="index", name=level.name, kind="int")
    for key, step in batch.contexts.steps.items():
        if present(step).any():
            columns.add(key, step, role="step", name=key, kind=step.kind)
    for metric, values in batch.metrics.items():
        if present(values).any():
            columns.add_metric(metric, values)
    metadata = {"hindsight": json.dumps(dict(about))}
    return pa.table(columns.arrays, schema=pa.schema(columns.fields, metadata=metadata))


class _Columns:
    """Collects the columns of one table under names that are distinct (docs/design/0003)."""

    def __init__(self) -> None:
        self.fields: list[pa.Field] = []
        self.arrays: list[pa.ChunkedArray | pa.Array] = []
        self._taken: set[str] = set()

    def add(self, column: str, values: Column, /, **metadata: str) -> str:
        return self.add_array(column, values.data, **metadata)

    def add_array(self, column: str, array: pa.ChunkedArray | pa.Array, /, **metadata: str) -> str:
        import pyarrow as pa

        while column in self._taken:
            column += ".logged"
        self._taken.add(column)
        self.fields.append(pa.field(column, array.type, metadata=metadata))
        self.arrays.append(array)
        return column

    def add_metric(self, metric: Metric, values: Column) -> None:
        about = {"name": metric.name, "labels": metric.labels_json, "kind": values.kind}
        name = self.add_array(metric.column, values.data, role="metric", **about)
        if values.none is not None and values.none.any():
            self.add_array(f"{name}.none", _booleans(values.none), role="none", name=name)


def _booleans(values: NDArray[np.bool_]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values)
