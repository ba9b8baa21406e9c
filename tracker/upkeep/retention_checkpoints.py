"""Which checkpoints of a run stay: the first, the last and the best, and some between them."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from tracker.checkpoint.manifest import read_manifest
from tracker.errors import Corrupt, KeyNotFound, NotFound
from tracker.read.frame import dataframe
from tracker.store.base import Info, Store
from tracker.upkeep.retention import Best


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


def best_of(store: Store, run: str, infos: Sequence[Info], best: Sequence[Best]) -> set[str]:
    """The manifests at the iterations in which a run's metrics were best: the last checkpoint of each of them."""
    if not best or not infos:
        return set()
    positions = {}
    for info in infos:
        try:
            positions[info.key] = read_manifest(store, info.key).position
        except (KeyNotFound, Corrupt):
            continue
    found: set[str] = set()
    for each in best:
        for loop in {position.loop for position in positions.values()}:
            iteration = _best_iteration(store, run, each, loop)
            there = [key for key, at in positions.items() if at.loop == loop and at.iteration == iteration]
            found.update(sorted(there)[-1:])
    return found


def _best_iteration(store: Store, run: str, best: Best, loop: str) -> int | None:
    """The iteration of a loop with the best value of a metric."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is told by `verify`
        try:
            frame = dataframe(store, best.metric, runs=[run])
        except NotFound:
            return None
    if loop not in frame.columns or best.metric not in frame.columns:
        return None
    rows = [(value, at) for value, at in zip(frame[best.metric], frame[loop], strict=True) if _is_number(value)]
    if not rows:
        return None
    at = (max if best.mode == "max" else min)(rows, key=lambda row: row[0])[1]
    order: Mapping[Any, int] = {value: number for number, value in enumerate(dict.fromkeys(frame[loop]))}
    return int(at) if isinstance(at, int) or hasattr(at, "__index__") else order[at]


def _is_number(value: Any) -> bool:
    try:
        return bool(value == value) and float(value) is not None
    except (TypeError, ValueError):
        return False
