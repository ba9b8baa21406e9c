"""What the pieces of a run hold, as plain Python, for comparison with what was logged."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tracker.read.source import steadily
from tracker.store.base import Store
from tracker.store.columns import cell_decoder
from tracker.store.segments import pieces

Place = tuple[tuple[tuple[str, int, Any], ...], frozenset[tuple[str, Any]]]
"""Loops as (name, index, shown value), outermost first, and step keys with their values."""


@dataclass(frozen=True)
class Cell:
    """One value that was read, with the kind of its column and its row among the rows of its context."""

    place: Place
    metric: str
    value: Any
    kind: str
    shard: str
    row: int


def cells(store: Store, run: str) -> list[Cell]:
    """Every value of a run but captured output and system samples, in the order of its pieces."""
    return steadily(lambda: _cells(store, run))


def _cells(store: Store, run: str) -> list[Cell]:
    found: list[Cell] = []
    for piece in pieces(store, run):
        if not piece.key.path.startswith(("@output", "@system")):
            found += _cells_of(piece.read(), piece.key.shard)
    return found


def _cells_of(table: pa.Table, shard: str) -> list[Cell]:
    columns = {field.name: _values(field, table.column(i)) for i, field in enumerate(table.schema)}
    about = {field.name: {k.decode(): v.decode() for k, v in field.metadata.items()} for field in table.schema}
    by_role: dict[str, list[str]] = defaultdict(list)
    for name, metadata in about.items():
        by_role[metadata["role"]].append(name)
    found = []
    rows_of: dict[Place, int] = defaultdict(int)
    for row in range(table.num_rows):
        loops = tuple(
            (about[name]["name"], columns.get(f"{name}.index", columns[name])[row], columns[name][row])
            for name in by_role["loop"]
        )
        steps = frozenset((about[n]["name"], columns[n][row]) for n in by_role["step"] if columns[n][row] is not None)
        place = (loops, steps)
        for name in (*by_role["metric"], *by_role["argument"]):
            is_none = f"{name}.none" in columns and columns[f"{name}.none"][row]
            if columns[name][row] is not None or is_none:
                metric = identity(about[name]["name"], json.loads(about[name]["labels"]))
                value = None if is_none else columns[name][row]
                found.append(Cell(place, metric, value, about[name]["kind"], shard, rows_of[place]))
        rows_of[place] += 1
    return found


def _values(field: pa.Field, column: pa.ChunkedArray) -> list[Any]:
    decode = cell_decoder(field.metadata.get(b"kind", b"").decode())
    cells = column.to_pylist()
    return cells if decode is None else [None if cell is None else decode(cell) for cell in cells]


def identity(name: str, labels: dict[str, Any]) -> str:
    """A metric as one text; labels of different types differ."""
    return json.dumps([name, labels], sort_keys=True)


def series(store: Store, run: str) -> dict[tuple[Place, str], list[Any]]:
    """The values of every metric in every context, in order."""
    found: dict[tuple[Place, str], list[Any]] = defaultdict(list)
    for cell in cells(store, run):
        found[cell.place, cell.metric].append(cell.value)
    return dict(found)


def values(store: Store, run: str, name: str) -> list[Any]:
    """All values of the metrics of one name, in the order of pieces and rows."""
    return [cell.value for cell in cells(store, run) if json.loads(cell.metric)[0] == name]


def place(*loops: tuple[str, int, Any], **steps: Any) -> Place:
    """A context."""
    return tuple(loops), frozenset(steps.items())
