"""Which checkpoints of a run stay: the first, the last and the best, and some between them."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
from typing import Literal

from tracker.checkpoint.manifest import read_manifest
from tracker.errors import Corrupt, KeyNotFound
from tracker.read.catalog import RunView
from tracker.read.source import parts_of, steadily
from tracker.store.base import Info
from tracker.upkeep.retention import Best
from tracker.upkeep.retention_metrics import number_of, rows_of


def spaced(infos: Sequence[Info], spacing: int | Literal["log"], *, kept: Collection[str] = ()) -> list[Info]:
    """The manifests that may go. Choosing again from those that stay changes nothing.

    ``spacing``: every so many stay, counted from an attempt's first, or with ``"log"`` those that lie 1, 2, 4, 8 …
    before its last. A checkpoint whose tensors are differences stays whole: their bases are objects that it names, and
    those stay with it.
    """
    attempts: dict[str, list[tuple[int, Info]]] = defaultdict(list)
    for info in infos:
        *_, attempt, name = info.key.split("/")
        attempts[attempt].append((int(name.removesuffix(".json")), info))
    gone = []
    for numbered in attempts.values():
        first, last = min(numbered)[0], max(numbered)[0]
        for number, info in sorted(numbered, key=lambda pair: pair[0]):
            away = last - number
            between = number % spacing == 0 if isinstance(spacing, int) else away & (away - 1) == 0
            if not (between or number in (first, last) or info.key in kept):
                gone.append(info)
    return gone


def best_of(view: RunView, infos: Sequence[Info], best: Sequence[Best]) -> set[str]:
    """The manifests at the iterations in which a run's metrics were best: the last checkpoint of each of them. Those
    that cannot be read are among them, because any may be the best.
    """
    if not best or not infos:
        return set()
    found: set[str] = set()
    positions = {}
    for info in infos:
        try:
            positions[info.key] = read_manifest(view.store, info.key).position
        except KeyNotFound:
            continue
        except Corrupt:
            found.add(info.key)
    for each in best:
        for loop in {position.loop for position in positions.values()}:
            iteration = steadily(partial(_best_iteration, view, each, loop), view)
            there = [key for key, at in positions.items() if at.loop == loop and at.iteration == iteration]
            found.update(sorted(there)[-1:])
    return found


def _best_iteration(view: RunView, best: Best, loop: str) -> int | None:
    """The index of a loop's iteration with the best value of a metric; the values of the loop may be anything."""
    found: list[tuple[float, int]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is told by `verify`
        for rows, values in rows_of(parts_of(view), view.store, best.metric):
            level = next((level for level in rows.contexts.levels if level.name == loop), None)
            if level is not None:
                indices = level.index.tolist()
                pairs = zip(map(number_of, values), indices, strict=True)
                found += [(number, index) for number, index in pairs if number is not None]
    return (max if best.mode == "max" else min)(found, key=lambda pair: pair[0])[1] if found else None
