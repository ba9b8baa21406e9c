"""SQL over a store, by DuckDB in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracker.errors import InputError
from tracker.read.catalog import RunView
from tracker.read.mentions import Mentions, mentions
from tracker.read.result import Result, load
from tracker.read.views import RECORDS, RUNS, Views, build
from tracker.store.base import Store


def answer(store: Store, runs: Sequence[RunView], query: str) -> Result:
    """The rows that a query gives over the tables of these runs; ``InputError`` says what DuckDB finds wrong."""
    duckdb = load("duckdb", "sql")
    if not isinstance(query, str) or not query.strip():
        raise InputError(f"{query!r} is not a query: expected SQL, such as select * from runs")
    with duckdb.connect(":memory:") as connection:
        try:
            wanted = mentions(connection, query)
        except duckdb.Error:
            wanted = Mentions()
        found = build(store, runs, wanted)
        for name, table in found.tables.items():
            connection.register(name, table)
        try:
            relation = connection.sql(query)
            return Result(_empty() if relation is None else _plain(relation.to_arrow_table()))
        except duckdb.Error as exc:
            raise InputError(f"{exc}\nTables: {_listed(found)}") from exc


def _empty() -> Any:
    import pyarrow as pa

    return pa.table({})


def _plain(table: Any) -> Any:
    """Texts as texts, whatever way they were handed over."""
    import pyarrow as pa

    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(field.type.value_type))
    return table


def _listed(found: Views) -> str:
    names = {RUNS, RECORDS, *found.tables, *found.others}
    return ", ".join('"' + name.replace('"', '""') + '"' for name in sorted(names))
