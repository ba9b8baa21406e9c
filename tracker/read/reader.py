"""``Reader``: every record of a store, filtered, as a list, a pivot, a table or by SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tracker.errors import InputError, NameNotFound
from tracker.read import pivot as pivots
from tracker.read.pivot import Formatter, Pivot
from tracker.read.question import read_keys, read_records
from tracker.read.records import Records
from tracker.read.result import Result, arrow_table, load, pandas_frame
from tracker.read.select import RunNames, Runs, runs
from tracker.read.where import Condition, near
from tracker.store.base import Store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Keys = Sequence[str]


class Reader:
    """Reads the records of a store's runs.

    Filters are keyword arguments (or a mapping, for keys that are no Python names) on any key of the run, the context
    or the labels: a value, a collection of values, or a function. A record has one value for each key: the context's,
    else the label's, else the run's. Every call reads anew, so runs that go on show what they have by then.

    >>> from tracker.store.open import open_store
    >>> reader = Reader(open_store("memory://reader-example"))
    >>> reader.read(metric="loss", epoch=lambda epoch: epoch < 5)
    []
    """

    def __init__(self, store: Store, *, where: str | Condition | None = None, runs: RunNames | None = None) -> None:
        self.store, self._where, self._names = store, where, runs

    def __repr__(self) -> str:
        return f"Reader({self.store.url!r})"

    def runs(self) -> Runs:
        """The runs that this reader reads."""
        return runs(self.store, where=self._where, runs=self._names)

    @property
    def keys(self) -> dict[str, list[str]]:
        """The keys for filters and pivots: those of ``run``, of ``context``, and ``metric`` with the labels."""
        return read_keys(self.store, self.runs()).by_scope()

    def read(self, filter: Mapping[str, Any] | None = None, **filters: Any) -> list[dict[str, Any]]:
        """One mapping a record: ``value``, the run's keys and arguments, ``metric``, labels, loops and step keys."""
        return self._records(filter, filters).dicts()

    def pivot(self, index: Keys, columns: Keys, filter: Mapping[str, Any] | None = None, **filters: Any) -> Pivot:
        """Index tuples, column tuples, and an array of values: float64 with NaN for missing, or objects.

        The n-th value of a cell stands in the n-th row of its index tuple, which then repeats.
        """
        return pivots.pivot(self._layout(index, columns, filter, filters))

    def pandas(
        self,
        index: Keys | None = None,
        columns: Keys | None = None,
        filter: Mapping[str, Any] | None = None,
        *,
        column_formatter: Formatter | None = None,
        **filters: Any,
    ) -> pd.DataFrame:
        """The records as a long data frame, or pivoted when ``index`` or ``columns`` are given.

        Several column keys make nested columns, unless ``column_formatter`` turns each tuple into a text.
        """
        if index is None and columns is None:
            return pandas_frame(self._records(filter, filters).columns())
        return pivots.to_pandas(self._layout(index or (), columns or (), filter, filters), column_formatter)

    def arrow(
        self,
        index: Keys | None = None,
        columns: Keys | None = None,
        filter: Mapping[str, Any] | None = None,
        *,
        column_formatter: Formatter | None = None,
        **filters: Any,
    ) -> pa.Table:
        """The same as an Arrow table; column tuples become texts joined by ``_``, or what ``column_formatter`` says.

        Integers beyond 64 bits are digits and nested or mixed values JSON texts there.
        """
        if index is None and columns is None:
            return arrow_table(self._records(filter, filters).columns())
        layout = self._layout(index or (), columns or (), filter, filters)
        return arrow_table(pivots.flat_columns(layout, column_formatter))

    def polars(
        self,
        index: Keys | None = None,
        columns: Keys | None = None,
        filter: Mapping[str, Any] | None = None,
        *,
        column_formatter: Formatter | None = None,
        **filters: Any,
    ) -> Any:
        """The same as a Polars data frame."""
        polars = load("polars", "polars")
        table = partial(self.arrow, index, columns, filter, column_formatter=column_formatter)
        return polars.from_arrow(table(**filters))

    def sql(self, query: str) -> Result:
        """The answer of DuckDB to a query over the tables ``runs`` and ``records`` and one view for each loop path.

        Views are named by the path, quoted: ``select epoch, avg(loss) from "epoch.step" group by epoch``; what was
        logged outside all loops is the view ``run``. Only what the query names is read.
        """
        from tracker.read.sql import answer

        return answer(self.store, self.runs(), query)

    def _records(self, filter: Mapping[str, Any] | None, filters: Mapping[str, Any]) -> Records:
        twice = set(filter or ()) & set(filters)
        if twice:
            raise InputError(f"{sorted(twice)[0]!r} is filtered twice; keep one of the two")
        return read_records(self.store, self.runs(), {**(filter or {}), **filters})

    def _layout(
        self, index: Keys, columns: Keys, filter: Mapping[str, Any] | None, filters: Mapping[str, Any]
    ) -> pivots.Layout:
        records = self._records(filter, filters)
        pivots.check_keys(records, index, columns)
        for name in (*index, *columns):
            if len(records) and name not in records.keys:
                known = {key for keys in self.keys.values() for key in keys}
                if name not in known:
                    raise NameNotFound(f"no record has the key {name!r}{near(name, known)}")
        return pivots.lay_out(records, index, columns)
