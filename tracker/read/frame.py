"""``dataframe``: one row per context, one column per loop, step key and metric, as a pandas data frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from tracker.errors import InputError
from tracker.read import values
from tracker.read.catalog import RunView
from tracker.read.select import RunNames, runs
from tracker.read.table import Table, metric_table
from tracker.read.where import Condition
from tracker.store.base import Store

if TYPE_CHECKING:
    import pandas as pd

Attempts = Literal["current", "all"]


def dataframe(
    store: Store,
    *names: str,
    where: str | Condition | None = None,
    runs: RunNames | None = None,
    attempts: Attempts = "current",
) -> pd.DataFrame:
    """One row per context with the named metrics: ``project, run, started, script``, loops, step keys, then the names.

    A name stands for all its labels (``norm{layer=0}``, ``norm{layer=1}`` …); one such column may be named, too.
    Values keep their types (float64, Int64, boolean, text; bytes, large integers and nested values as Python objects).
    Rows are never merged away: the n-th value of a metric in a context stands in the context's n-th row. What was
    logged outside all loops is repeated on every row of its run. ``fidelity``, ``replay``, ``attempt``, ``shard`` and
    ``time`` add where a row comes from. ``attempts="all"`` shows rows that later attempts replaced.

    Without names: one row per run with its arguments, values outside loops, status and duration.
    """
    if attempts not in {"current", "all"}:
        raise InputError(f"attempts={attempts!r}: expected 'current' or 'all'")
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"{name!r} is not the name of a metric: expected a text")
    views = _select(store, where, runs)
    if not names:
        return runs_frame(views)
    return to_frame(metric_table(store, views, names, all_attempts=attempts == "all"))


def _select(store: Store, where: str | Condition | None, names: RunNames | None) -> Sequence[RunView]:
    return runs(store, where=where, runs=names)


def to_frame(table: Table) -> pd.DataFrame:
    """The pandas form of a table, without copying its float columns once more."""
    import pandas as pd

    return pd.DataFrame({name: values.to_pandas(column) for name, column in table.columns.items()}, copy=False)


def runs_frame(views: Iterable[RunView]) -> pd.DataFrame:
    """One row per run."""
    from tracker.read.table import run_table

    return to_frame(run_table(list(views)))
