"""Tables in the hands of the user: one Arrow table, handed on to pandas, Polars, or whoever speaks Arrow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tracker.errors import MissingExtra
from tracker.read import values
from tracker.read.values import Column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def load(package: str, extra: str) -> Any:
    """An optional package, or ``MissingExtra`` with the command that brings it."""
    try:
        return importlib.import_module(package)
    except ImportError as exc:
        raise MissingExtra(
            f"this needs {package}, which is not installed; install it with: pip install 'hindsight-tracker[{extra}]'"
        ) from exc


def arrow_table(columns: Mapping[str, Column]) -> pa.Table:
    """An Arrow table: large integers as digits, nested and mixed values as JSON; the kind is field metadata."""
    import pyarrow as pa

    arrays = [column.arrow() for column in columns.values()]
    fields = [
        pa.field(name, array.type, metadata={"kind": column.kind})
        for (name, column), array in zip(columns.items(), arrays, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(fields))


def pandas_frame(columns: Mapping[str, Column]) -> pd.DataFrame:
    """Columns as a pandas data frame, every value of its logged type."""
    import pandas as pd

    return pd.DataFrame({name: values.to_pandas(column) for name, column in columns.items()}, copy=False)


class Result:
    """The answer to a query: iterate over its rows, or take it as a whole.

    Speaks the Arrow C stream interface, so ``polars.DataFrame(result)``, ``duckdb.sql("from result")`` and
    ``pyarrow.table(result)`` work without a copy.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._table.column_names)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for batch in self._table.to_batches(max_chunksize=1000):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def __repr__(self) -> str:
        shown = Result(self._table.slice(0, 20)).pandas().to_string(index=False)
        more = f"\n… {len(self)} rows" if len(self) > 20 else ""
        return f"{shown}{more}"

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)

    def dicts(self) -> list[dict[str, Any]]:
        """One mapping a row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self]

    def arrow(self) -> pa.Table:
        """The Arrow table."""
        return self._table

    def pandas(self) -> pd.DataFrame:
        """A pandas data frame with nullable integers and truth values."""
        return pandas_frame({name: _column(self._table, name) for name in self.columns})

    def polars(self) -> Any:
        """A Polars data frame."""
        return load("polars", "polars").from_arrow(self._table)


def _column(table: pa.Table, name: str) -> Column:
    return values.guess(table.column(table.column_names.index(name)))
