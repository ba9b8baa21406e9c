"""The rows of one loop path of one run, as every output of the reader shows them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tracker.read.attempts import current, single_arguments
from tracker.read.batch import Batch, read_batch
from tracker.read.contexts import Contexts, group, order_columns
from tracker.read.layout import Metric
from tracker.read.occurrences import Arrangement, arrange, is_interleaved, rank_groups
from tracker.read.replays import side_by_side
from tracker.read.source import Part
from tracker.read.values import Column, column
from tracker.store.base import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Selection:
    """What to read: which metrics, whether hidden attempts show, and which pseudo-columns were named.

    Naming ``attempt``, ``shard`` or ``replay`` makes it part of a row's identity.
    """

    metrics: frozenset[Metric]
    all_attempts: bool = False
    pseudo: frozenset[str] = frozenset()
    every_row: bool = False  # rows of the metrics that were not selected, too


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one loop path: contexts, values by metric, and the pseudo-columns that were named."""

    path: tuple[str, ...]
    length: int
    contexts: Contexts
    metrics: dict[Metric, Column]
    pseudo: dict[str, Column]


def read_rows(store: Store, parts: Sequence[Part], selection: Selection) -> Rows | None:
    """The rows of the selected metrics from the parts of one path; ``None`` when it has none of them."""
    chosen = _choose(parts, selection)
    if not chosen:
        return None
    if selection.every_row:
        return _read_every_row(store, chosen, selection)
    batch = _read_visible(store, chosen, selection)
    return arrange_batch(batch, chosen[0].layout.loops, selection.pseudo)


def _read_visible(store: Store, parts: Sequence[Part], selection: Selection) -> Batch:
    batch = read_batch(store, parts, selection.metrics, time="time" in selection.pseudo)
    if not batch.contexts.levels:
        per_attempt = selection.all_attempts and "attempt" in selection.pseudo
        batch = single_arguments(batch, per_attempt=per_attempt)
    return batch if selection.all_attempts else current(batch)


def _read_every_row(store: Store, parts: Sequence[Part], selection: Selection) -> Rows | None:
    """All rows of a path with some of its columns; the others are read only where contexts repeat."""
    path = parts[0].layout.loops
    if path:
        batch = _read_visible(store, parts, selection)
        if not len(batch):
            return None
        if group(batch.contexts.codes() + _identity(batch, selection.pseudo), len(batch)).of_row is None:
            found = Arrangement(len(batch), None, [None] * len(batch.metrics))
            present = [values.present() for values in batch.metrics.values()]
            pseudo = _pseudo(batch, found, present, selection.pseudo)
            return Rows(path, len(batch), batch.contexts, batch.metrics, pseudo)
    everything = frozenset(metric for part in parts for metric in part.layout.metrics)
    rows = arrange_batch(_read_visible(store, parts, replace(selection, metrics=everything)), path, selection.pseudo)
    if rows is None:
        return None
    return replace(rows, metrics={key: value for key, value in rows.metrics.items() if key in selection.metrics})


def _choose(parts: Sequence[Part], selection: Selection) -> list[Part]:
    """The parts with a wanted metric; with several attempts also the others: they say where an attempt began."""
    having = [part for part in parts if not selection.metrics.isdisjoint(part.layout.metrics)]
    own = [part for part in parts if part.layout.replay is None]
    if selection.every_row:
        return list(parts)
    if not having or selection.all_attempts or len({part.piece.key.attempt for part in own}) < 2:
        return having
    return own + [part for part in having if part.layout.replay is not None]


def arrange_batch(batch: Batch, path: tuple[str, ...], pseudo: Collection[str] = ()) -> Rows | None:
    """Apply the rule for repeated values to a batch."""
    if not len(batch):
        return None
    interleaved = _is_interleaved(batch)
    if "replay" in pseudo:
        batch = side_by_side(batch)
    groups = group(batch.contexts.codes() + _identity(batch, pseudo), len(batch))
    ranks = rank_groups(groups, order_columns(batch.contexts.levels, _writers(batch)[0])) if interleaved else None
    present = [values.present() for values in batch.metrics.values()]
    source = None
    if "replay" not in pseudo and any(part.layout.replay for part in batch.parts):
        source, _ = batch.numbered(lambda part: part.layout.replay)
    laid_out = arrange(groups, present, len(batch), source=source, ranks=ranks)
    if not laid_out.length:
        return None
    metrics = {
        metric: values if cells is None else values.take(cells)
        for (metric, values), cells in zip(batch.metrics.items(), laid_out.cells, strict=True)
    }
    contexts = batch.contexts if laid_out.context is None else batch.contexts.take(laid_out.context)
    return Rows(path, laid_out.length, contexts, metrics, _pseudo(batch, laid_out, present, pseudo))


_KEYS: dict[str, Any] = {
    "attempt": lambda part: part.piece.key.attempt,
    "shard": lambda part: part.piece.key.shard,
    "replay": lambda part: part.layout.replay,
    "fidelity": lambda part: part.layout.fidelity,
}


def _identity(batch: Batch, pseudo: Collection[str]) -> list[NDArray[np.int64]]:
    found = [batch.numbered(_KEYS[name]) for name in ("attempt", "shard", "replay") if name in pseudo]
    return [numbers for numbers, distinct in found if len(distinct) > 1]


def _is_interleaved(batch: Batch) -> bool:
    writer, distinct = _writers(batch)
    return len(distinct) > 1 and is_interleaved(order_columns(batch.contexts.levels, writer), writer)


def _writers(batch: Batch) -> tuple[NDArray[np.int64], list[Any]]:
    return batch.numbered(lambda part: (part.layout.replay, part.piece.key.shard))


def _pseudo(
    batch: Batch,
    laid_out: Arrangement,
    present: Sequence[NDArray[np.bool_] | None],
    names: Collection[str],
) -> dict[str, Column]:
    found = {}
    for name in names:
        if name == "time":
            found[name] = _time(batch, laid_out, present)
        else:
            found[name] = _of_owner(batch, laid_out, present, name)
    return found


def _filled(cells: NDArray[np.int64] | None, mask: NDArray[np.bool_] | None, length: int) -> Any:
    """Output rows that a metric fills, and the input rows that it fills them from."""
    import numpy as np

    inputs = np.arange(length) if cells is None else cells
    outputs = np.flatnonzero(inputs >= 0)
    if mask is not None:
        outputs = outputs[mask[inputs[outputs]]]
    return outputs, inputs[outputs]


def _time(batch: Batch, laid_out: Arrangement, present: Sequence[NDArray[np.bool_] | None]) -> Column:
    """The time of the first value of every row."""
    import numpy as np
    import pyarrow as pa

    assert batch.time is not None
    unknown = np.iinfo(np.int64).max
    times = batch.time.data.cast(pa.int64()).fill_null(unknown).to_numpy()
    found = np.full(laid_out.length, unknown)
    for cells, mask in zip(laid_out.cells, present, strict=True):
        outputs, inputs = _filled(cells, mask, laid_out.length)
        found[outputs] = np.minimum(found[outputs], times[inputs])
    array = pa.array(found, mask=found == unknown).cast(pa.timestamp("us", tz="UTC"))
    return column("time", array)


def _of_owner(batch: Batch, laid_out: Arrangement, present: Sequence[NDArray[np.bool_] | None], name: str) -> Column:
    """Attempt, shard, replay or fidelity of every row; a replay's where one filed any of the row's values."""
    import numpy as np
    import pyarrow as pa

    numbers, distinct = batch.numbered(_KEYS[name])
    filed = batch.of_parts([part.layout.replay is not None for part in batch.parts])
    found = np.full(laid_out.length, -1)
    wins = np.full(laid_out.length, -1)
    for cells, mask in zip(laid_out.cells, present, strict=True):
        outputs, inputs = _filled(cells, mask, laid_out.length)
        better = filed[inputs] > wins[outputs]
        found[outputs[better]] = numbers[inputs[better]]
        wins[outputs[better]] = filed[inputs[better]]
    dictionary = pa.array(distinct, pa.string())
    return column("str", dictionary.take(pa.array(found, mask=found < 0)))


def split_rows(rows: Rows) -> tuple[list[Rows], list[Rows]]:
    """Rows inside a loop or a step, and rows outside of everything."""
    import numpy as np

    if rows.contexts.levels:
        return [rows], []
    stepped = np.zeros(rows.length, bool)
    for step in rows.contexts.steps.values():
        present = step.present()
        stepped |= True if present is None else present
    inside, outside = np.flatnonzero(stepped), np.flatnonzero(~stepped)
    return [take_rows(rows, inside)] if len(inside) else [], [take_rows(rows, outside)] if len(outside) else []


def take_rows(rows: Rows, chosen: NDArray[np.int64]) -> Rows:
    if len(chosen) == rows.length:
        return rows
    return Rows(
        rows.path,
        len(chosen),
        rows.contexts.take(chosen),
        {metric: values.take(chosen) for metric, values in rows.metrics.items()},
        {name: values.take(chosen) for name, values in rows.pseudo.items()},
    )
