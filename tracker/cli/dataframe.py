"""``hindsight dataframe``: logged values as one typed table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli import completion, options
from tracker.cli.failures import OK, tell
from tracker.cli.stores import open_for_reading
from tracker.cli.table_options import Form, Limit, Out

if TYPE_CHECKING:
    import pyarrow as pa

    from tracker.read.catalog import RunView
    from tracker.store.base import Store


def dataframe(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Metrics, arguments or loops. None: one row a run.",
            autocompletion=completion.metric_names,
            show_default=False,
        ),
    ] = None,
    where: options.Where = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Only this run (id, beginning or end of it, latest); may be given again.",
            autocompletion=completion.run_ids,
            show_default=False,
        ),
    ] = None,
    form: Form = None,
    out: Out = None,
    limit: Limit = None,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Show logged values as one typed table.

    One row a context: the run, its loops and step keys, then the names in the order asked. Without names, one row a
    run. At a terminal what all rows share stands above the table and times are local; CSV, JSON and Parquet have
    every column, and times in UTC.

    JSON: {"columns": [{name, type}], "rows": [{column: value}], "total", "more"}. NaN and infinities are the texts
    "NaN", "Infinity", "-Infinity", bytes are {"$bytes": base64}, null is no value. CSV: no value is an empty field,
    NaN is nan.
    """
    from tracker.cli.tables import Format, choose_format, write_table

    chosen = choose_format(form, out, as_json=as_json)
    opened = open_for_reading(store)
    table = _read(opened, names or [], where, run)
    if chosen is Format.TABLE:
        table = _without_shared(table, names or [])
    more = write_table(table, chosen, out, limit)
    if out is not None:
        tell(f"wrote {table.num_rows - more:,} rows to {out}")
    if more:
        tell(f"{more:,} more rows: --limit 0 gives all, --out FILE writes them to a file")
    return OK


def _read(store: Store, names: list[str], where: str | None, chosen: list[str] | None) -> pa.Table:
    from tracker.read.result import arrow_table
    from tracker.read.select import runs
    from tracker.read.table import metric_table, run_table

    views: list[RunView] = list(runs(store, where=where, runs=chosen))
    table = metric_table(store, views, names, all_attempts=False) if names else run_table(views)
    return arrow_table(table.columns)


def _without_shared(table: pa.Table, names: list[str]) -> pa.Table:
    """The table for people: identity that is the same in every row is said once, above it."""
    from tracker.cli.console import say
    from tracker.cli.texts import counted

    shared = []
    for name in ("project", "script", "started"):
        if name in table.column_names and name not in names:
            values = table.column(name).unique().to_pylist()
            if len(values) > 1 and name != "started":
                continue
            if name != "started":
                shared += [f"{name} {value}" for value in values]
            table = table.drop_columns([name])
    say(" · ".join([counted(table.num_rows, "row"), *shared]), "dim")
    return table
