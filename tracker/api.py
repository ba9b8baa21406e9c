"""The module-level functions of ``tracker``, bound to the run and the store that are in force."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
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
    from tracker.upkeep.compact_summary import CompactSummary, OnCompactProgress
    from tracker.upkeep.removal import Removed
    from tracker.upkeep.retention_summary import Collected

__all__ = [
    "arg",
    "checkpointing",
    "commit",
    "compact",
    "dataframe",
    "finish",
    "gc",
    "init",
    "iteration",
    "load_checkpoint",
    "log",
    "log_many",
    "loop",
    "pin",
    "reader",
    "remove",
    "run",
    "runs",
    "step",
    "sync",
    "tag",
    "unpin",
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
    [[0, 1.0], [1, 0.5]]
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


def compact(
    store: StoreLike = None,
    *,
    full: bool = False,
    dry_run: bool = False,
    grace_s: float = 3600.0,
    storage_options: dict[str, Any] | None = None,
    on_progress: OnCompactProgress | None = None,
) -> CompactSummary:
    """Merge what readers ask of all runs of a store into few files, the folder ``index/``.

    Listing many runs, and reading a metric of many, then takes requests for what is read and not for every run. No
    answer changes by it: what is new or has changed since is read from the runs. Safe beside everything that writes or
    reads, and after a kill. ``full`` reads every run anew; ``dry_run`` only counts; what is replaced stays for
    ``grace_s`` seconds.

    >>> import tracker
    >>> with tracker.run(store="memory://compacted", capture=()):
    ...     _ = tracker.log("loss", 0.5)
    >>> tracker.compact("memory://compacted").indexed
    1
    """
    from tracker.upkeep.compaction import compact as compact_store

    opened = default_store(store, storage_options)
    return compact_store(opened, full=full, dry_run=dry_run, grace_s=grace_s, on_progress=on_progress)


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
    restore: bool = False,
    threads: int | None = None,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Copy what one store has and another lacks: all runs, or those that ``where`` and ``runs`` choose.

    Between any two stores, in both directions: documents that both have are merged, and nothing is lost. Safe while
    runs write to the source (what comes later arrives the next time), several at once into one target, and killed at
    any moment: the next call goes on. A second call moves nothing.

    ``dry_run`` only looks. ``full`` looks at everything again, also at what was brought over before. ``restore`` brings
    runs back that were removed from the target; they are left out otherwise. ``delete_after``
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
        restore=restore,
        threads=threads,
        on_progress=on_progress,
    )


def tag(
    runs: RunNames,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    store: StoreLike = None,
    storage_options: dict[str, Any] | None = None,
) -> list[str]:
    """Add and remove tags of runs that were recorded before; returns the full ids of those that changed.

    Each change is a document of its own, so two copies of a store that were both changed merge without conflict; of two
    changes of one tag the later wins.

    >>> import tracker
    >>> with tracker.run(store="memory://tags", capture=(), tags=("first",)):
    ...     pass
    >>> _ = tracker.tag("latest", add=["best"], remove=["first"], store="memory://tags")
    >>> tracker.runs(store="memory://tags")[0].tags
    ('best',)
    """
    from tracker.upkeep.pins import change_tags

    opened = default_store(store, storage_options)
    return change_tags(opened, _ids(opened, runs), add=add, remove=remove)


def pin(runs: RunNames, *, store: StoreLike = None, storage_options: dict[str, Any] | None = None) -> list[str]:
    """Pin runs: no policy of retention removes them, nor ``remove`` without ``force``. Returns those that changed."""
    from tracker.upkeep.pins import change_pins

    opened = default_store(store, storage_options)
    return change_pins(opened, _ids(opened, runs), pinned=True)


def unpin(runs: RunNames, *, store: StoreLike = None, storage_options: dict[str, Any] | None = None) -> list[str]:
    """Take away the pin of runs. Returns those that changed."""
    from tracker.upkeep.pins import change_pins

    opened = default_store(store, storage_options)
    return change_pins(opened, _ids(opened, runs), pinned=False)


def remove(
    runs: RunNames,
    *,
    force: bool = False,
    dry_run: bool = False,
    store: StoreLike = None,
    storage_options: dict[str, Any] | None = None,
) -> Removed:
    """Remove runs with their records, checkpoints, and what replays answered about them; ``gc`` frees the rest.

    Runs that go on stay, without ``force`` also pinned ones and those that cannot be read, named in ``kept``. Killed at
    any moment, it shows a whole run or none. No sync brings a removed run back, unless it is told to (``restore``).
    """
    from tracker.upkeep.removal import remove_runs

    opened = default_store(store, storage_options)
    return remove_runs(opened, _ids(opened, runs), force=force, dry_run=dry_run)


def gc(
    *,
    keep_last: int | None = None,
    keep_best: str | Sequence[str] | None = None,
    keep_younger: str | float | timedelta | None = None,
    keep_tagged: str | Sequence[str] | None = None,
    checkpoints: int | Literal["log"] | None = None,
    grace: str | float | timedelta | None = None,
    where: str | Condition | None = None,
    dry_run: bool = True,
    store: StoreLike = None,
    storage_options: dict[str, Any] | None = None,
) -> Collected:
    """Remove the runs that no rule keeps, and then payloads, code and plans that nothing needs; by default only tell.

    Rules: the last so many of each project, the best by a metric (``"accuracy"``, ``"loss:min:3"``), those younger than
    ``"30d"``. Without one of these three no run goes. Pinned runs stay, those with one of the tags ``keep_tagged``, and
    those that go on. ``checkpoints`` thins those of runs that are over: every so many stay, or ever fewer (``"log"``);
    the first, the last and the best always. ``where`` limits the rules to some runs. What is not given is taken from
    ``[tool.hindsight.retention]``.

    Nothing goes that was written within ``grace`` (default ``"24h"``) or since the oldest open run began. Safe beside
    runs that go on and copies into the store; a kill loses nothing that is needed, the next call goes on.

    >>> import tracker
    >>> for name in ("old", "new"):
    ...     with tracker.run(name, store="memory://kept", capture=()):
    ...         pass
    >>> list(tracker.gc(keep_last=1, grace=0, store="memory://kept").runs) == [tracker.runs(store="memory://kept")[0].run]
    True
    """
    from tracker.code.project import project_root
    from tracker.config import load_settings
    from tracker.upkeep.retention import Policy, with_units
    from tracker.upkeep.retention_gc import collect

    given = {
        "keep_last": keep_last,
        "keep_best": keep_best,
        "keep_younger": keep_younger,
        "keep_tagged": keep_tagged,
        "checkpoints": checkpoints,
        "grace": grace,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    policy = Policy.of(with_units(load_settings(project_root()).retention) | chosen)
    return collect(default_store(store, storage_options), policy, where=where, dry_run=dry_run)


def _ids(store: Store, runs: RunNames) -> list[str]:
    """Full ids of the runs that are meant."""
    from tracker.read.catalog import RunView, resolve_id

    names = [runs] if isinstance(runs, str | RunView) else list(runs)
    return [name.run if isinstance(name, RunView) else resolve_id(store, name) for name in names]
