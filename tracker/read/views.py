"""The tables that queries see: ``runs``, ``records``, and one for each loop path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tracker.read.catalog import IDENTITY, RunView
from tracker.read.layout import Metric
from tracker.read.mentions import Mentions
from tracker.read.parallel import each
from tracker.read.question import read_records
from tracker.read.records import Block
from tracker.read.rows import Rows, Selection, read_rows
from tracker.read.sections import Section, columns_of, context_columns
from tracker.read.source import Part, parts_of, steadily
from tracker.read.table import identities, logged
from tracker.read.values import Column, concatenate, constant, from_python, missing
from tracker.store.base import Store
from tracker.store.columns import to_json

if TYPE_CHECKING:
    import pyarrow as pa

RUNS, RECORDS, RUN_LEVEL = "runs", "records", "run"


@dataclass
class Views:
    """Tables by name, and the names of those that the query did not ask for."""

    tables: dict[str, pa.Table] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)


def build(store: Store, runs: Sequence[RunView], wanted: Mentions) -> Views:
    """The tables that a query speaks of, with the columns that it speaks of."""
    found = Views()
    if wanted.has_table(RUNS):
        found.tables[RUNS] = _runs(runs)
    if wanted.has_table(RECORDS):
        found.tables[RECORDS] = _records(store, runs)
    if wanted.tables is not None and wanted.tables <= {RUNS, RECORDS}:
        return found
    read = each(store, lambda view: steadily(lambda: _read_run(store, view, wanted), view), runs)
    names = _names({path for paths in read for path in paths})
    for path, name in sorted(names.items()):
        if wanted.has_table(name):
            found.tables[name] = _path_table(
                [(view, own[path]) for view, own in zip(runs, read, strict=True) if path in own]
            )
        else:
            found.others.add(name)
    return found


def _names(paths: set[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Distinct table names; two that differ in case only would be one table to SQL."""
    found: dict[tuple[str, ...], str] = {}
    taken = {RUNS, RECORDS}
    for path in sorted(paths, key=lambda path: (len(path), path)):
        name = view_name(path)
        while name.lower() in taken:
            name += ".logged"
        taken.add(name.lower())
        found[path] = name
    return found


def view_name(path: Sequence[str]) -> str:
    """The table of a loop path: its loops joined by dots; ``run`` outside all loops."""
    return ".".join(path) or RUN_LEVEL


def _read_run(store: Store, view: RunView, wanted: Mentions) -> dict[tuple[str, ...], Rows | None]:
    """The rows of the paths that may be needed; ``None`` for the others."""
    by_path: dict[tuple[str, ...], list[Part]] = {}
    for part in parts_of(view):
        by_path.setdefault(part.layout.loops, []).append(part)
    found: dict[tuple[str, ...], Rows | None] = dict.fromkeys(by_path)
    for path, parts in by_path.items():
        # A name may have been extended to be distinct, so the beginning of the table's name decides.
        if wanted.tables is None or any(name.startswith(view_name(path).lower()) for name in wanted.tables):
            found[path] = read_rows(store, parts, _selection(parts, wanted))
    return {path: rows for path, rows in found.items() if rows is not None or not wanted.has_table(view_name(path))}


def _selection(parts: Sequence[Part], wanted: Mentions) -> Selection:
    metrics = {metric for part in parts for metric in part.layout.metrics}
    chosen = frozenset(metric for metric in metrics if _is_wanted(metric, wanted))
    return Selection(chosen, pseudo=frozenset({"time"}), every_row=True)


def _is_wanted(metric: Metric, wanted: Mentions) -> bool:
    if wanted.columns is None:
        return True
    return any(name == metric.column.lower() or name.startswith(f"{metric.column.lower()}.") for name in wanted.columns)


def _path_table(found: Sequence[tuple[RunView, Rows | None]]) -> pa.Table:
    rows = [(view, own) for view, own in found if own is not None]
    sections = [
        Section(view, own.length, context_columns(own.contexts), {}, columns_of(own), own.pseudo) for view, own in rows
    ]
    metrics = {metric for _, own in rows for metric in own.metrics}
    columns = {
        (metric.name, metric.labels_json): metric.column for metric in sorted(metrics, key=lambda one: one.order)
    }
    table = _Columns(sections)
    table.add("time", lambda section: section.pseudo.get("time"))
    for name in dict.fromkeys(name for section in sections for name in section.loops):
        table.add(name, partial(_context, name))
    for key, name in columns.items():
        table.add(name, partial(_metric, key))
    return table.arrow()


def _context(name: str, section: Section) -> Column | None:
    return section.loops.get(name)


def _metric(key: tuple[str, str], section: Section) -> Column | None:
    return section.metrics.get(key)


class _Columns:
    """Arrow columns under distinct names; the run's id comes first, once per run and not once per row."""

    def __init__(self, sections: Sequence[Section]) -> None:
        self.sections = sections
        self.columns: dict[str, Any] = {"run": _run_ids(sections)}

    def add(self, name: str, part: Callable[[Section], Column | None]) -> None:
        found = [(section, part(section)) for section in self.sections]
        parts = [missing(section.length) if own is None else own for section, own in found]
        self.put(name, concatenate(parts) if parts else missing(0))

    def put(self, name: str, column: Column) -> None:
        """A column that has all rows already."""
        while name.lower() in {known.lower() for known in self.columns}:
            name += ".logged"
        self.columns[name] = column.arrow()

    def arrow(self) -> pa.Table:
        import pyarrow as pa

        return pa.table(self.columns)


def _run_ids(sections: Sequence[Section]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    numbers = np.repeat(np.arange(len(sections), dtype=np.int32), [section.length for section in sections])
    return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array([s.view.run for s in sections], pa.string()))


def _runs(runs: Sequence[RunView]) -> pa.Table:
    table = _Columns([Section(view, 1) for view in runs])
    for name in IDENTITY[1:]:
        table.put(name, identities(runs, name))
    table.put("attempts", from_python([len(view.attempts) for view in runs]))
    mappings = [view.summary | view.arguments for view in runs]
    for name in dict.fromkeys(name for view in runs for name in (*view.arguments, *view.summary)):
        table.put(name, logged(mappings, name))
    return table.arrow()


def _records(store: Store, runs: Sequence[RunView]) -> pa.Table:
    """The long table: numbers and truth values in ``value``, everything that is no exact double as ``text``."""
    blocks = read_records(store, runs, {}).blocks
    sections = [Section(block.view, len(block)) for block in blocks]
    by_section = {id(section): block for section, block in zip(sections, blocks, strict=True)}
    table = _Columns(sections)

    def of_block(part: Callable[[Block], Column | None]) -> Callable[[Section], Column | None]:
        return lambda section: part(by_section[id(section)])

    table.add("path", of_block(lambda block: _spread(block, [view_name(block.path)] * len(block.series))))
    table.add("metric", of_block(lambda block: block.key("metric")))
    table.add("labels", of_block(lambda block: _spread(block, [one.metric.labels_json for one in block.series])))
    table.add("value", of_block(lambda block: _gather(block, _as_double)))
    table.add("text", of_block(lambda block: _gather(block, _as_text)))
    table.add("kind", of_block(lambda block: _spread(block, [one.values.kind for one in block.series])))
    for name in dict.fromkeys(name for block in blocks for name in block.context):
        table.add(name, of_block(partial(_block_context, name)))
    return table.arrow()


def _block_context(name: str, block: Block) -> Column | None:
    return block.key(name) if name in block.context else None


def _spread(block: Block, texts: Sequence[str]) -> Column:
    """One text a series for all its records."""
    return block.gather([constant(text, len(one.rows)) for text, one in zip(texts, block.series, strict=True)])


def _gather(block: Block, convert: Callable[[Column], Column]) -> Column:
    return block.gather([convert(one.values) for one in block.series])


def _as_double(values: Column) -> Column:
    import pyarrow as pa

    if values.kind not in {"float", "int", "bool"}:
        return missing(len(values))
    data = values.data.cast(pa.int8()) if values.kind == "bool" else values.data
    return Column("float", data.cast(pa.float64(), safe=False))


def _as_text(values: Column) -> Column:
    """The exact text of values that ``value`` cannot hold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.kind in {"float", "bool"}:
        return missing(len(values))
    if values.kind == "int":
        exact = pc.and_(pc.greater_equal(values.data, -(1 << 53)), pc.less_equal(values.data, 1 << 53))
        return Column("str", pc.if_else(exact, pa.scalar(None, pa.string()), values.data.cast(pa.string())))
    if values.kind == "bytes":
        return from_python([None if cell is None else to_json(cell) for cell in values.python()])
    return Column("str", values.data)
