"""What a run printed and logged, and how its machine was doing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tracker.errors import DamagedSegment
from tracker.read.catalog import RunView, find_run
from tracker.read.frame import to_frame
from tracker.read.notices import left_out
from tracker.read.parallel import each
from tracker.read.rows import Selection, read_rows
from tracker.read.sections import context_columns
from tracker.read.source import list_parts, steadily
from tracker.read.table import Table
from tracker.read.values import Column
from tracker.store.base import Store
from tracker.store.keys import OUTPUT_PATH, SYSTEM_LOOP, path_part
from tracker.store.segments import Piece, pieces

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Line:
    """One captured line: of ``stdout``, ``stderr``, or a logger (then with a level)."""

    time: datetime
    attempt: str
    stream: str
    level: str | None
    text: str
    context: dict[str, Any] = field(default_factory=dict)


def output(store: Store, run: str | RunView, *, stream: str | None = None) -> Iterator[Line]:
    """The captured lines of all attempts of a run in the order of their times; ``run`` is an id or part of one.

    The lines are those at the time of the call; call again to see what a run has printed since.
    """
    view = run if isinstance(run, RunView) else find_run(store, run)
    lines = steadily(lambda: _lines(store, view.run))
    lines.sort(key=lambda line: line.time)  # stable: lines of one instant stay in the order of their shard
    return (line for line in lines if stream is None or line.stream == stream)


def _lines(store: Store, run: str) -> list[Line]:
    found = each(store, _read, pieces(store, run, paths=[OUTPUT_PATH]), heavy=True)
    return [line for lines in found for line in lines]


def _read(piece: Piece) -> list[Line]:
    try:
        table = piece.read(["_time", "stream", "level", "text", "context"])
    except DamagedSegment as exc:
        left_out(str(piece.key), exc)
        return []
    described: dict[str, dict[str, Any]] = {}
    lines = []
    for time, stream, level, text, context in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if context not in described:
            described[context] = json.loads(context) if context else {}
        lines.append(Line(time, piece.key.attempt, stream, level, text, described[context]))
    return lines


def system(store: Store, run: str | RunView) -> pd.DataFrame:
    """The samples of a run's machine, one row each, with time and attempt; samples of every attempt are shown."""
    view = run if isinstance(run, RunView) else find_run(store, run)
    return to_frame(steadily(lambda: _system(store, view.run)))


def _system(store: Store, run: str) -> Table:
    parts = list_parts(store, run, paths=[path_part([SYSTEM_LOOP])])
    metrics = sorted({metric for part in parts for metric in part.layout.metrics}, key=lambda metric: metric.order)
    selection = Selection(frozenset(metrics), all_attempts=True, pseudo=frozenset({"attempt", "time"}))
    rows = read_rows(store, parts, selection)
    if rows is None:
        return Table({}, 0)
    columns: dict[str, Column] = {name: rows.pseudo[name] for name in ("time", "attempt")}
    columns |= context_columns(rows.contexts) | {metric.column: rows.metrics[metric] for metric in metrics}
    return Table(columns, rows.length)
