"""``hindsight sql``: a question to all runs in SQL."""

from __future__ import annotations

from typing import Annotated

import typer

from tracker.cli import options
from tracker.cli.failures import OK, tell
from tracker.cli.stores import open_for_reading
from tracker.cli.table_options import Form, Limit, Out


def sql(
    query: Annotated[
        str,
        typer.Argument(
            metavar="QUERY", help="A query in the SQL of DuckDB; - reads it from stdin.", show_default=False
        ),
    ],
    form: Form = None,
    out: Out = None,
    limit: Limit = None,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Ask all runs a question in SQL.

    The tables are runs, records (one row a value), run (what was logged outside all loops) and one view for each
    loop path. Views are named by their loops, quoted: select run, avg(loss) from "epoch.step" group by run.

    JSON: {"columns": [{name, type}], "rows": [{column: value}], "total", "more"}, with values as in `hindsight
    dataframe --json`; the type is that of Arrow.
    """
    import sys

    from tracker.cli.tables import choose_format, write_table
    from tracker.read.reader import Reader

    chosen = choose_format(form, out, as_json=as_json)
    text = sys.stdin.read() if query == "-" else query
    table = Reader(open_for_reading(store)).sql(text).arrow()
    more = write_table(table, chosen, out, limit)
    if out is not None:
        tell(f"wrote {table.num_rows - more:,} rows to {out}")
    if more:
        tell(f"{more:,} more rows: --limit 0 gives all, --out FILE writes them to a file")
    return OK
