"""What a run and its replay logged, as rows of numbers that can be laid side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tracker.read.attempts import current
from tracker.read.batch import Batch, read_batch
from tracker.read.contexts import Contexts, Level
from tracker.read.layout import Metric
from tracker.read.source import list_parts, steadily
from tracker.read.values import Column, concatenate, missing
from tracker.store.base import Store
from tracker.store.keys import SYSTEM_LOOP

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Path = tuple[str, ...]
Logged = dict[Path, Batch]
"""Rows by loop path."""


def read_logged(store: Store, run: str, wanted: Callable[[Metric], bool]) -> Logged:
    """What a run itself logged of the wanted metrics, with times; also beside its writer. Arguments are left out."""
    return steadily(lambda: _read(store, run, wanted))


def _read(store: Store, run: str, wanted: Callable[[Metric], bool]) -> Logged:
    parts = [part for part in list_parts(store, run) if part.layout.replay is None]
    by_path: dict[Path, list[Any]] = {}
    for part in parts:
        if part.layout.loops[:1] != (SYSTEM_LOOP,):
            by_path.setdefault(part.layout.loops, []).append(part)
    found = {}
    for path, own in by_path.items():
        metrics = {metric for part in own for metric in part.layout.metrics if not metric.is_argument}
        chosen = {metric for metric in metrics if wanted(metric)}
        if chosen:
            found[path] = current(read_batch(store, own, chosen, time=True))
    return found


def join(old: Batch, new: Batch) -> Batch:
    """The rows of both below one another, with columns that hold the values of both exactly."""
    import numpy as np

    levels = [_join_levels(one, other) for one, other in zip(old.contexts.levels, new.contexts.levels, strict=True)]
    lengths = len(old), len(new)
    steps = _join_columns(old.contexts.steps, new.contexts.steps, lengths)
    assert old.time is not None
    assert new.time is not None
    return Batch(
        [*old.parts, *new.parts],
        np.concatenate([old.owner, new.owner + np.int32(len(old.parts))]),
        Contexts(levels, steps),
        _join_columns(old.metrics, new.metrics, lengths),
        concatenate([old.time, new.time]),
    )


def _join_levels(one: Level, other: Level) -> Level:
    import numpy as np

    values = concatenate([one.values, other.values])
    is_value = one.index_is_value and other.index_is_value
    return Level(one.name, values, np.concatenate([one.index, other.index]), is_value)


def _join_columns(old: dict[Any, Column], new: dict[Any, Column], lengths: tuple[int, int]) -> dict[Any, Column]:
    return {
        name: concatenate([old.get(name) or missing(lengths[0]), new.get(name) or missing(lengths[1])])
        for name in dict.fromkeys([*old, *new])
    }


def times(batch: Batch) -> NDArray[np.int64]:
    """When each row's first value was logged, in microseconds."""
    import pyarrow as pa

    assert batch.time is not None
    found: NDArray[np.int64] = batch.time.data.cast(pa.int64()).fill_null(0).to_numpy()
    return found


def present(values: Column) -> NDArray[np.bool_]:
    """Which rows hold a value, ``None`` included."""
    import numpy as np

    found = values.present()
    return np.ones(len(values), bool) if found is None else found


def keep(batch: Batch, rows: NDArray[np.bool_]) -> Batch:
    """These rows only."""
    import numpy as np

    return batch if rows.all() else batch.take(np.flatnonzero(rows))


def only(batch: Batch, wanted: Callable[[Metric], bool]) -> Batch:
    """These metrics only."""
    return replace(batch, metrics={metric: values for metric, values in batch.metrics.items() if wanted(metric)})


def describe(batch: Batch, row: int) -> str:
    """The context of a row for people: ``epoch=3, step=17``."""
    import numpy as np

    contexts = batch.contexts.take(np.array([row]))
    named = [(level.name, level.values.python()[0]) for level in contexts.levels]
    named += [(key, step.python()[0]) for key, step in contexts.steps.items() if present(step)[0]]
    return ", ".join(f"{name}={value}" for name, value in named)
