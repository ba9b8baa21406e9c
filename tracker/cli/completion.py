"""What the shell offers behind Tab: run ids and names of metrics, at a glance and never with an error."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tracker.read.catalog import RunView
    from tracker.store.base import Store

_MOST = 30


def run_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Short ids of the latest runs, or full ids where one was begun, each with what was run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _run_ids(_open(context), incomplete.lower())
    except Exception:  # noqa: BLE001  a traceback behind Tab would wreck the person's prompt
        return []


def metric_names(context: typer.Context, incomplete: str) -> list[str]:
    """Names that the latest run logged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [name for name in _latest_names(_open(context)) if name.startswith(incomplete)][:_MOST]
    except Exception:  # noqa: BLE001  a traceback behind Tab would wreck the person's prompt
        return []


def _open(context: typer.Context) -> Store:
    from tracker.cli.stores import open_for_reading

    return open_for_reading(context.params.get("store"))


def _run_ids(store: Store, incomplete: str) -> list[tuple[str, str]]:
    from tracker.read.catalog import scan
    from tracker.store import ids, keys

    newest = sorted((run for run in store.folders(keys.RUNS) if ids.is_id(run)), reverse=True)
    full = [run for run in newest if run.startswith(incomplete)] if incomplete else []
    chosen = {run: run for run in full}
    chosen.update({run: ids.short(run) for run in newest if ids.short(run).startswith(incomplete)})
    wanted = sorted(chosen, reverse=True)[:_MOST]
    described = {view.run: _describe(view) for view in scan(store, wanted)} if wanted else {}
    return [(chosen[run], described.get(run, "")) for run in wanted]


def _describe(view: RunView) -> str:
    return " ".join(text for text in (view.project, view.name or "", view.script, view.status) if text)


def _latest_names(store: Store) -> list[str]:
    from tracker.read.source import list_parts
    from tracker.store import ids, keys

    runs = [run for run in store.folders(keys.RUNS) if ids.is_id(run)]
    parts = list_parts(store, max(runs)) if runs else []
    return sorted({metric.name for part in parts for metric in part.layout.metrics})
