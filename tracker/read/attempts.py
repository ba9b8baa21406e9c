"""Which values of earlier attempts a later attempt hides (docs/design/0003)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tracker.read.batch import Batch
from tracker.read.contexts import order_columns
from tracker.read.values import Column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def current(batch: Batch) -> Batch:
    """The batch without what later attempts logged anew. Values that a replay filed belong to no attempt and stay."""
    own = [part for part in batch.parts if part.layout.replay is None]
    if len({part.piece.key.attempt for part in own}) < 2:
        return batch
    return _current_rows(batch) if batch.contexts.levels else _current_values(batch)


def _ranks(batch: Batch) -> NDArray[np.int64]:
    """For every row the position of its attempt in time, and -1 for replays."""
    attempts = sorted({part.piece.key.attempt for part in batch.parts if part.layout.replay is None})
    ranks = [attempts.index(part.piece.key.attempt) if part.layout.replay is None else -1 for part in batch.parts]
    return batch.of_parts(ranks)


def _current_rows(batch: Batch) -> Batch:
    """Inside loops: a later attempt hides the rows from its own first context on."""
    import numpy as np

    ranks = _ranks(batch)
    order = order_columns(batch.contexts.levels, ranks)
    hidden = np.zeros(len(batch), bool)
    for rank in range(1, int(ranks.max()) + 1):
        hidden |= (ranks >= 0) & (ranks < rank) & _at_or_after(order, _first_row(batch, order, ranks == rank))
    return batch.take(np.flatnonzero(~hidden)) if hidden.any() else batch


def _first_row(batch: Batch, order: Sequence[NDArray[Any]], own: NDArray[np.bool_]) -> int:
    """The row in which an attempt began: the lowest of the first rows of its shards."""
    import numpy as np

    shards, _ = batch.numbered(lambda part: part.piece.key.shard)
    rows = np.flatnonzero(own)
    _, first = np.unique(shards[rows], return_index=True)
    return int(min(rows[first].tolist(), key=lambda row: tuple(column[row] for column in order)))


def _at_or_after(order: Sequence[NDArray[Any]], row: int) -> NDArray[np.bool_]:
    """Which rows are lexicographically not below the given one."""
    import numpy as np

    after = np.zeros(len(order[0]), bool)
    tied = np.ones(len(order[0]), bool)
    for column in order:
        after |= tied & (column > column[row])
        tied &= column == column[row]
    return after | tied


def _current_values(batch: Batch) -> Batch:
    """Outside loops: a value hides the earlier attempts' values of the same name."""
    import numpy as np

    ranks = _ranks(batch)
    kept = {}
    for metric, values in batch.metrics.items():
        present = values.present()
        present = np.ones(len(batch), bool) if present is None else present
        latest = int(ranks[present].max(initial=-1))
        kept[metric] = where(values, (ranks == latest) | (ranks < 0))
    return replace(batch, metrics=kept)


def single_arguments(batch: Batch, *, per_attempt: bool) -> Batch:
    """Let every argument have one value, though each rank of a distributed run states it.

    The last attempt's, of its first shard, the last one given; a logged value of the same name has no part in this.
    """
    import numpy as np

    arguments = [metric for metric in batch.metrics if metric.is_argument]
    if not arguments:
        return batch
    ranks = _ranks(batch)
    shards, _ = batch.numbered(lambda part: part.piece.key.shard)
    kept = dict(batch.metrics)
    for metric in arguments:
        present = batch.metrics[metric].present()
        rows = np.arange(len(batch)) if present is None else np.flatnonzero(present)
        order = rows[np.lexsort((rows, -shards[rows], ranks[rows]))]
        last = np.ones(len(order), bool)
        if per_attempt:
            last[:-1] = ranks[order][1:] != ranks[order][:-1]
        else:
            last[:-1] = False
        chosen = np.zeros(len(batch), bool)
        chosen[order[last]] = True
        kept[metric] = where(batch.metrics[metric], chosen)
    return replace(batch, metrics=kept)


def where(values: Column, kept: NDArray[np.bool_]) -> Column:
    """The values at the kept rows; the others become missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kept.all():
        return values
    data = pc.if_else(pa.array(kept), values.data, pa.scalar(None, values.data.type))
    none = None if values.none is None else values.none & kept
    return Column(values.kind, data if isinstance(data, pa.ChunkedArray) else pa.chunked_array([data]), none)
