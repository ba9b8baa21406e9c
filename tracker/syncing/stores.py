"""Synchronisation: everything that one store has and another lacks, brought over."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from tracker.errors import InputError, NotFound
from tracker.replay.kinds import ALL_KINDS
from tracker.store.base import Store, address_of, has
from tracker.store.documents import Format
from tracker.store.format import read_format, require_format
from tracker.store.memory import MemoryStore
from tracker.store.open import connect, open_store
from tracker.syncing.carrying import Carrier
from tracker.syncing.deleting import Deleting, remove_empty_folders
from tracker.syncing.engine import Engine
from tracker.syncing.record import RecordFile, record_folder
from tracker.syncing.summary import OnProgress, Summary, Tally

StoreLike = Store | str | os.PathLike[str]
Options = Mapping[str, Any]

_SAVE_EVERY_S = 5.0  # as much work is looked at again after a kill


def sync(
    source: StoreLike,
    target: StoreLike,
    *,
    runs: Collection[str] | None = None,
    source_options: Options | None = None,
    target_options: Options | None = None,
    dry_run: bool = False,
    delete_after: bool = False,
    full: bool = False,
    restore: bool = False,
    threads: int | None = None,
    on_progress: OnProgress | None = None,
    records: Path | None = None,
) -> Summary:
    """Copy what the target lacks: payloads before documents that name them, the end of every attempt last.

    ``runs`` are full ids; by default everything is brought over. Killed at any moment, it leaves a target that can be
    read and verified, and the next call goes on. Several at once into one target, and runs that write to the source
    meanwhile, are safe: open journals arrive as segments, and what comes later arrives the next time. Nothing of the
    target is lost: documents that both have are merged (docs/design/0016).

    ``delete_after`` deletes the ended runs of the source that the target has byte by byte. ``dry_run`` writes nothing;
    ``full`` compares with the target also what is remembered to have been brought over; ``restore`` brings runs back
    that the target has removed, which are left out otherwise;
    ``records`` is where that is remembered (default: the user's cache folder). ``source_options`` and
    ``target_options`` are storage options as for ``open_store``.

    What the source lacks or has damaged is told by the summary (``problems``) and held back together with what names
    it. Raises ``NotFound`` without a source, ``StoreUnavailable``, ``StoreFull`` or ``StoreReadOnly`` when one of the
    stores cannot be used; what had arrived until then stays.
    """
    opened = _open(source, source_options, create=False)
    destination = _open_target(target, target_options, dry_run=dry_run)
    ours, theirs = require_format(opened), read_format(destination)
    if address_of(opened) == address_of(destination) or (
        not dry_run and theirs == ours and _shows_through(destination, opened)
    ):
        raise InputError(f"{opened.url} is both source and target: expected two stores")
    passing = isinstance(opened, MemoryStore) or isinstance(destination, MemoryStore)
    file = RecordFile(None if passing else records or record_folder(), _pair(opened, ours, destination, theirs))
    record = file.load()
    if full:
        record.units, record.flat = {}, {}
    tally = Tally(Summary(opened.url, destination.url, dry_run=dry_run), on_progress)
    try:
        with Carrier(opened, destination, tally, dry=dry_run, threads=threads) as carrier:
            _bring(
                Engine(carrier, ALL_KINDS, record, restore=restore),
                runs,
                lambda: None if dry_run else file.save(record),
            )
            if delete_after and not dry_run:
                Deleting(carrier, ALL_KINDS, record).delete(runs)
    finally:
        if not dry_run:
            file.save(record)
    return tally.end()


def _bring(engine: Engine, runs: Collection[str] | None, save: Callable[[], None]) -> None:
    """All that is to be brought over, part by part; what was done is noted now and then."""
    saved = time.monotonic()
    if runs is None:
        engine.bring_code()
    for step in (engine.bring_runs, engine.bring_replays):
        for _ in step(runs):
            if time.monotonic() - saved > _SAVE_EVERY_S:
                save()
                saved = time.monotonic()
    engine.bring_documents("launches/", None if runs is None else engine.launches_of(runs))
    if runs is None:
        engine.bring_documents("watches/")


def _open(store: StoreLike, options: Options | None, *, create: bool) -> Store:
    if isinstance(store, Store):
        return store
    return open_store(store, storage_options=options, create=create)


def _open_target(target: StoreLike, options: Options | None, *, dry_run: bool) -> Store:
    """The target, made where there is none; in a dry run an empty one stands for it."""
    if not dry_run:
        return _open(target, options, create=True)
    try:
        return _open(target, options, create=False)
    except NotFound:
        assert not isinstance(target, Store)
        return _Empty(connect(target, storage_options=options))


class _Empty(MemoryStore):
    """Stands for a target that is not there yet."""

    def __init__(self, target: Store) -> None:
        super().__init__(f"dry run of {os.getpid()}")
        self.url, self.address = target.url, address_of(target)  # a store of this URL on another server is another


def _pair(source: Store, ours: Format, target: Store, theirs: Format | None) -> str:
    """What tells this pair of stores from every other, also from others at the same addresses before."""
    created = (ours.created, None if theirs is None else theirs.created)
    return f"{address_of(source)}\n{address_of(target)}\n{created}"


def _shows_through(target: Store, source: Store) -> bool:
    """Whether what the target is given is in the source: one store with two addresses, and no copy of it."""
    key = f".probe/{secrets.token_hex(8)}"
    target.put(key, b"")
    try:
        return has(source, key)
    finally:
        target.delete([key])
        remove_empty_folders(target, ".probe/")
