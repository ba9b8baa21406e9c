"""The module-level functions of ``tracker``, bound to the run and the store that are in force."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tracker.checkpoint.registry import checkpointing
from tracker.record.arguments import arg
from tracker.record.context import iteration, loop, step
from tracker.record.lifecycle import commit, default_store, finish, init, run
from tracker.record.log import log, log_many
from tracker.store.base import Store

if TYPE_CHECKING:
    import pandas as pd

    from tracker.checkpoint.loading import Checkpoint
    from tracker.checkpoint.manifest import Position
    from tracker.read.reader import Reader
    from tracker.read.select import RunNames, Runs
    from tracker.read.where import Condition
    from tracker.syncing.summary import OnProgress, Summary

__all__ = [
    "arg",
    "checkpointing",
    "commit",
    "dataframe",
    "finish",
    "init",
    "iteration",
    "load_checkpoint",
    "log",
    "log_many",
    "loop",
    "reader",
    "run",
    "runs",
    "step",
    "sync",
]

StoreLike = Store | str | os.PathLike[str] | None


def dataframe(
    *names: str,
    where: str | Condition | None = None,
    runs: RunNames | None = None,
    store: StoreLike = None,
    storage_options: dict[str, Any] | None = None,
    attempts: Literal["current", "all"] = "current",
) -> pd.DataFrame:
    """One row per context with the named metrics: ``project, run, started, script``, loops, step keys, then the names.

    A name stands for all its labels; one labelled column (``norm{layer=0}``) may be named, too. Values keep their
    types. Rows are never merged away; what was logged outside all loops is repeated on every row of its run.
    ``fidelity``, ``replay``, ``attempt``, ``shard`` and ``time`` add where a row comes from. ``where`` keeps runs by
    their arguments and results (``"lr > 1e-3 and status == 'finished'"``, or a function of a mapping), ``runs`` by id.
    Without names: one row per run with its arguments, values outside loops, status and duration.

    Never starts a run and never writes; runs that are still going are read as they stand. ``NameNotFound`` names what
    is near.

    >>> import tracker
    >>> with tracker.run(store="memory://frame", capture=()):
    ...     for epoch in tracker.loop("epoch", range(2)):
    ...         _ = tracker.log("loss", 1.0 / (epoch + 1))
    >>> tracker.dataframe("loss", store="memory://frame")[["epoch", "loss"]].values.tolist()
    [[0.0, 1.0], [1.0, 0.5]]
    """
    from tracker.read.frame import dataframe as read_frame

    return read_frame(default_store(store, storage_options), *names, where=where, runs=runs, attempts=attempts)


def runs(
    *,
    where: str | Condition | None = None,
    runs: RunNames | None = None,
    store: StoreLike = None,
    storage_options: dict[str, Any] | None = None,
) -> Runs:
    """The runs of a store, oldest first: a list with a readable form and ``.pandas()``. ``where`` and ``runs`` as for
    ``dataframe``.
    """
    from tracker.read.select import runs as select_runs

    return select_runs(default_store(store, storage_options), where=where, runs=runs)


def reader(store: StoreLike = None, *, storage_options: dict[str, Any] | None = None) -> Reader:
    """A reader of one store: ``.keys``, ``.read``, ``.pivot``, ``.pandas``, ``.polars``, ``.arrow`` and ``.sql``."""
    from tracker.read.reader import Reader

    return Reader(default_store(store, storage_options))


def load_checkpoint(
    run: str,
    at: int | str | Mapping[str, Any] | Position | None = None,
    *,
    store: StoreLike = None,
    storage_options: dict[str, Any] | None = None,
    trust: bool = False,
) -> Checkpoint:
    """The states of a run's registered objects as a mapping, without running anybody's code.

    ``run``: an id, a unique beginning or end of it, or ``"latest"``. ``at``: an iteration such as ``{"epoch": 3}``
    (its last checkpoint), a number in the order of time (``0`` the first, ``-1`` the last), or ``None`` for the last.
    States are dicts and arrays, as ``state_dict()`` gives them; each is read, and verified, when it is asked for.
    What only pickle could hold is loaded with ``trust=True`` alone, because a pickle can run code.

    ``RunNotFound`` and ``NotFound`` say what there is instead, ``DamagedObject`` what cannot be read.

    ::

        saved = tracker.load_checkpoint("latest", {"epoch": 3})
        net.load_state_dict(saved["model"])
    """
    from tracker.checkpoint.loading import load
    from tracker.read.catalog import resolve_id

    opened = default_store(store, storage_options)
    return load(opened, resolve_id(opened, run), at, trust=trust)


def sync(
    source: Store | str | os.PathLike[str],
    target: Store | str | os.PathLike[str],
    *,
    where: str | Condition | None = None,
    runs: RunNames | None = None,
    source_options: Mapping[str, Any] | None = None,
    target_options: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    delete_after: bool = False,
    full: bool = False,
    threads: int | None = None,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Copy what one store has and another lacks: all runs, or those that ``where`` and ``runs`` choose.

    Between any two stores, in both directions: documents that both have are merged, and nothing is lost. Safe while
    runs write to the source (what comes later arrives the next time), several at once into one target, and killed at
    any moment: the next call goes on. A second call moves nothing.

    ``dry_run`` only looks. ``full`` looks at everything again, also at what was brought over before. ``delete_after``
    removes from the source the runs that have ended, after every byte of them was read back from the target. Storage
    options are as for ``init``; by default those of the settings.

    The summary tells what arrived, and in ``problems`` what the source has lost or damaged. ``NotFound`` without a
    source, ``StoreUnavailable``, ``StoreFull`` or ``StoreReadOnly`` when a store cannot be used.

    >>> import tracker
    >>> with tracker.run(store="memory://here", capture=()):
    ...     _ = tracker.log("loss", 0.5)
    >>> tracker.sync("memory://here", "memory://there").runs
    1
    >>> tracker.sync("memory://here", "memory://there").keys
    0
    """
    from tracker.code.project import project_root
    from tracker.config import load_settings
    from tracker.read.select import runs as select_runs
    from tracker.syncing.stores import sync as sync_stores

    options = load_settings(project_root()).storage_options
    opened = default_store(source, dict(options if source_options is None else source_options))
    chosen = None if where is None and runs is None else select_runs(opened, where=where, runs=runs)
    return sync_stores(
        opened,
        target,
        runs=None if chosen is None else [run.run for run in chosen],
        target_options=options if target_options is None else target_options,
        dry_run=dry_run,
        delete_after=delete_after,
        full=full,
        threads=threads,
        on_progress=on_progress,
    )
