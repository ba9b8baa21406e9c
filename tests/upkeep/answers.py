"""Everything that a store answers, with its index and without it."""

from __future__ import annotations

import secrets
import warnings
from typing import Any

import pandas as pd

from tracker.errors import HindsightError
from tracker.read.frame import dataframe
from tracker.read.reader import Reader
from tracker.read.select import runs
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.memory import MemoryStore

NAMES = (("loss",), ("lr", "loss"), ("acc", "loss", "epoch"), ("odd name{x=1}",), ("loss", "replay", "fidelity"))


def without_index(store: Store) -> MemoryStore:
    """A copy of a store that was never compacted."""
    copy = MemoryStore(secrets.token_hex(8))
    for info in store.list():
        if not info.key.startswith(keys.INDEX):
            copy.put(info.key, store.get(info.key))
    return copy


def answers(store: Store, *, tables: bool = True) -> dict[str, Any]:
    """Runs, frames, records, keys and tables, and what was warned of."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        reader = Reader(store)
        found: dict[str, Any] = {"runs": [_told(view) for view in runs(store)]}
        for names in NAMES if tables else NAMES[-1:]:
            found[f"frame {names}"] = _try(_frame, store, names, "current")
        found["keys"] = reader.keys
        found["records"] = sorted(map(repr, reader.read()))
        if tables:
            found["all attempts"] = _try(_frame, store, ("loss", "attempt"), "all")
            found["table"] = _plain(runs(store).pandas())
            found["where"] = _try(_chosen, store)
            found["system"] = _try(reader.read, {"@system": 0})
            for table in ("records", "runs", '"epoch"', "run"):
                found[table] = _try(_rows, reader, table)
        return found | {"warnings": sorted({str(each.message) for each in warned})}


def _frame(store: Store, names: tuple[str, ...], attempts: Any) -> Any:
    return _plain(dataframe(store, *names, attempts=attempts))


def _chosen(store: Store) -> list[str]:
    return [view.run for view in runs(store, where="lr > 0.2")]


def _rows(reader: Reader, table: str) -> list[str]:
    return list(map(repr, reader.sql(f"select * from {table} order by all")))


def _told(view: Any) -> Any:
    return view.document, view.status, view.tags, view.ended, repr(view.arguments), repr(view.summary), view.duration


def _plain(frame: pd.DataFrame) -> Any:
    return list(frame.columns), [str(kind) for kind in frame.dtypes], frame.to_csv(), repr(frame.to_dict("list"))


def _try(work: Any, *arguments: Any) -> Any:
    try:
        return work(*arguments)
    except HindsightError as exc:
        return str(exc)
