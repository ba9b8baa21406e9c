"""Forward and replayed values in one row where ``replay`` is a column of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tracker.read.attempts import where
from tracker.read.batch import Batch
from tracker.read.contexts import group

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def side_by_side(batch: Batch) -> Batch:
    """The batch with rows such that each replay's contexts also hold the forward values of metrics that it did not log.

    A forward row of a context that replays touched stays only where all of them logged one of its metrics anew, because
    then it says something that no replay's row shows.
    """
    import numpy as np

    replays = list(dict.fromkeys(part.layout.replay for part in batch.parts if part.layout.replay is not None))
    if not replays:
        return batch
    groups = group(batch.contexts.codes(), len(batch))
    context = np.arange(len(batch)) if groups.of_row is None else groups.of_row
    present = [_mask(values.present(), len(batch)) for values in batch.metrics.values()]
    origin = batch.of_parts(
        [-1 if part.layout.replay is None else replays.index(part.layout.replay) for part in batch.parts]
    )
    forward = origin < 0
    logged = [
        [_contexts_of(context, mask & (origin == n), groups.count) for mask in present] for n in range(len(replays))
    ]
    touched = [np.any(own, axis=0) if own else np.zeros(groups.count, bool) for own in logged]

    stays = _conflicts(context, [mask & forward for mask in present], logged, touched)
    kept = [mask & (~forward | stays[context]) for mask in present]
    rows, owners, masks = [np.arange(len(batch))], [batch.owner], [[mask] for mask in kept]
    for number, replay_id in enumerate(replays):
        copies = np.flatnonzero(forward & touched[number][context])
        part = next(i for i, part in enumerate(batch.parts) if part.layout.replay == replay_id)
        rows.append(copies)
        owners.append(np.full(len(copies), part, np.int32))
        for mask, own, known in zip(masks, present, logged[number], strict=True):
            mask.append(own[copies] & ~known[context[copies]])
    taken = replace(batch.take(np.concatenate(rows)), owner=np.concatenate(owners))
    metrics = {
        metric: where(values, np.concatenate(mask))
        for (metric, values), mask in zip(taken.metrics.items(), masks, strict=True)
    }
    return replace(taken, metrics=metrics)


def _mask(present: NDArray[np.bool_] | None, length: int) -> NDArray[np.bool_]:
    import numpy as np

    return np.ones(length, bool) if present is None else present


def _contexts_of(context: NDArray[np.int64], rows: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    import numpy as np

    found = np.zeros(count, bool)
    found[context[rows]] = True
    return found


def _conflicts(
    context: NDArray[np.int64],
    forward: Sequence[NDArray[np.bool_]],
    logged: Sequence[Sequence[NDArray[np.bool_]]],
    touched: Sequence[NDArray[np.bool_]],
) -> NDArray[np.bool_]:
    """Contexts in which every replay that touched them logged one of the forward metrics anew, or that none touched."""
    import numpy as np

    count = len(touched[0])
    found: NDArray[np.bool_] = ~np.any(touched, axis=0)
    for number, rows in enumerate(forward):
        shown_nowhere = _contexts_of(context, rows, count)
        for own, here in zip(logged, touched, strict=True):
            shown_nowhere &= own[number] | ~here
        found |= shown_nowhere
    return found
