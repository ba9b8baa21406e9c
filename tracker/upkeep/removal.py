"""Removing runs, in an order that never shows half of one (docs/design/0018)."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from tracker.errors import Conflict, Corrupt, InputError, KeyNotFound
from tracker.read.catalog import RunView, scan
from tracker.replay.documents import Plan
from tracker.store import ids, keys
from tracker.store.base import Info, Store
from tracker.store.changes import note_changes
from tracker.store.documents import Launch, Lease, Removal, RunDocument, decode, encode
from tracker.store.leases import derive_status


@dataclass(frozen=True)
class Belongings:
    """All keys of a run: those in its folder, and the answers that replays gave about it."""

    run: str
    infos: tuple[Info, ...]
    results: tuple[Info, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(info.size_bytes for info in (*self.infos, *self.results))

    @property
    def attempts(self) -> frozenset[str]:
        """The attempts that there are."""
        start = keys.attempts_folder(self.run)
        return frozenset(info.key.split("/")[3] for info in self.infos if info.key.startswith(start))


@dataclass
class Removed:
    """What was removed, or would be: runs with their bytes; and what was left alone, with the reason."""

    runs: dict[str, int] = field(default_factory=dict)
    keys: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(self.runs.values())


class Remover:
    """Removes runs of one store; what replays said about which run is read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._results: dict[str, list[str]] | None = None

    def belongings(self, run: str) -> Belongings:
        """What a run consists of now."""
        results = [info for key in self._results_of(run) if (info := self._info(key)) is not None]
        return Belongings(run, tuple(self.store.list(keys.run_folder(run))), tuple(results))

    def remove(self, own: Belongings, *, reason: str = "") -> int:
        """Remove a run; gives the number of keys. Killed at any moment, it shows the whole run or none of it, and the
        next ``finish_removals`` does the rest. ``Conflict`` when the run was started again since it was looked at.
        """
        note_changes(self.store, [own.run])
        try:
            launch_key = self._launch_key_of(own.run)
            removal = Removal(run=own.run, removed=time.time(), reason=reason, launch_key=launch_key)
            self.store.put(keys.removal_document(own.run), encode(removal))
            now = self.belongings(own.run)
            if now.attempts - own.attempts:
                self.store.delete([keys.removal_document(own.run)])
                raise Conflict(f"run {own.run} was started again a moment ago; it is not removed")
            return self._delete(now, launch_key)
        finally:
            note_changes(self.store, [own.run])

    def finish(self, own: Belongings) -> int:
        """Remove what is left of a run whose removal was interrupted."""
        key = keys.removal_document(own.run)
        note_changes(self.store, [own.run])
        try:
            return self._delete(own, decode(self.store.get(key), Removal, key=key).launch_key)
        finally:
            note_changes(self.store, [own.run])

    def _delete(self, own: Belongings, launch_key: str | None) -> int:
        """The run's own document goes first: from then on nobody sees the run. What leads to it goes next."""
        pointers = [] if launch_key is None else self._pointer(launch_key, own.run)
        self.store.delete([keys.run_document(own.run)])
        self.store.delete([*pointers, *(info.key for info in own.results), *(info.key for info in own.infos)])
        remove_empty_folders(self.store, keys.run_folder(own.run))
        return len(own.infos) + len(own.results) + len(pointers)

    def _launch_key_of(self, run: str) -> str | None:
        key = keys.run_document(run)
        try:
            return decode(self.store.get(key), RunDocument, key=key).launch_key
        except (KeyNotFound, Corrupt):
            return None

    def _pointer(self, launch_key: str, run: str) -> list[str]:
        """The pointer by which a further attempt would find the run, unless it is another run's by now."""
        key = keys.launch_document(launch_key)
        try:
            return [key] if decode(self.store.get(key), Launch, key=key).run == run else []
        except (KeyNotFound, Corrupt):
            return []

    def _results_of(self, run: str) -> list[str]:
        if self._results is None:
            self._results = defaultdict(list)
            for plan in plans(self.store):
                for piece in plan.slices:
                    self._results[piece.run].append(keys.replay_result(plan.replay, piece.number))
        return self._results.get(run, [])

    def _info(self, key: str) -> Info | None:
        try:
            return self.store.info(key)
        except KeyNotFound:
            return None


def plans(store: Store) -> Iterator[Plan]:
    """The plans of all replays that can be read."""
    for replay in store.folders(keys.REPLAYS):
        if ids.is_id(replay):
            with suppress(KeyNotFound, Corrupt):
                key = keys.replay_plan(replay)
                yield decode(store.get(key), Plan, key=key)


def obstacle(view: RunView, *, force: bool = False) -> str | None:
    """Why a run may not be removed."""
    if any(attempt.status == "running" for attempt in view.attempts):
        return "it is still running"
    return "it is pinned" if view.pinned and not force else None


def remove_runs(
    store: Store, runs: Iterable[str], *, force: bool = False, dry_run: bool = False, reason: str = ""
) -> Removed:
    """Remove runs, given by full id: their records, checkpoints, launches, and what replays answered about them.

    Their payloads and code go with the next ``gc``, where nothing else needs them. No sync brings a removed run back
    unless it is told to. Runs that go on, and pinned ones without ``force``, are left alone and named in ``kept``.
    """
    wanted = list(dict.fromkeys(runs))
    found = Removed(dry_run=dry_run)
    remover = Remover(store)
    for run in wanted:
        own = remover.belongings(run)  # before it is looked at: an attempt that begins later is not among them
        views = scan(store, [run])
        why = obstacle(views[0], force=force) if views else None
        if why is None and not views and not own.infos:
            why = "there is no such run"
        if why is None and not dry_run:
            try:
                found.keys += remover.remove(own, reason=reason)
            except Conflict as exc:
                why = str(exc)
        elif why is None:
            found.keys += len(own.infos) + len(own.results)
        if why is not None:
            found.kept[run] = why
        else:
            found.runs[run] = own.size_bytes
    return found


def removed_runs(store: Store) -> set[str]:
    """The runs that were removed from a store on purpose."""
    names = (info.key.rsplit("/", 1)[1].removesuffix(".json") for info in store.list(keys.REMOVED))
    return {name for name in names if ids.is_id(name)}


def unfinished_removals(store: Store) -> Iterator[Belongings]:
    """What interrupted removals left. A run that was started again since then, or is going on, is not among them."""
    remover = Remover(store)
    for run in sorted(removed_runs(store) & set(store.folders(keys.RUNS))):
        own = remover.belongings(run)
        if own.infos and not _is_back(store, own):
            yield own


def _is_back(store: Store, own: Belongings) -> bool:
    """Whether an attempt of the run goes on, or wrote something after the removal, by the store's own clock: those
    of the machines may be hours apart.
    """
    key = keys.removal_document(own.run)
    try:
        removed_at, removed = store.info(key).modified, decode(store.get(key), Removal, key=key).removed
    except (KeyNotFound, Corrupt):
        return True
    signs = [info for info in own.infos if info.key.startswith(keys.attempts_folder(own.run))]
    if removed_at is None or any(info.modified is None for info in signs):
        return any(ids.is_id(attempt) and ids.created_ms(attempt) > removed * 1000 for attempt in own.attempts)
    if any(info.modified is not None and info.modified > removed_at for info in signs):
        return True
    ended = {info.key for info in signs if info.key.endswith("/end.json")}
    leases = [info for info in signs if info.key.endswith("/lease.json")]
    return any(info.key.replace("/lease.json", "/end.json") not in ended and _goes_on(store, info) for info in leases)


def _goes_on(store: Store, info: Info) -> bool:
    """Whether the attempt of a lease is running."""
    try:
        lease = decode(store.get(info.key), Lease, key=info.key)
    except (KeyNotFound, Corrupt):
        return False
    return derive_status(None, lease, now=time.time(), written=info.modified) == "running"


def finish_removals(store: Store) -> list[str]:
    """Do what interrupted removals left to do; gives their runs."""
    remover, done = Remover(store), []
    for own in unfinished_removals(store):
        remover.finish(own)
        done.append(own.run)
    return done


def restore_runs(store: Store, runs: Iterable[str]) -> None:
    """Let runs be brought back that were removed."""
    names = list(runs)
    for run in names:
        if not ids.is_id(run):
            raise InputError(f"{run!r} is not a full id of a run")
    store.delete([keys.removal_document(run) for run in names])


def remove_empty_folders(store: Store, prefix: str) -> None:
    """Remove what is left of folders in a local store; one that somebody fills again stays."""
    root = store.local_path(prefix.rstrip("/"))
    for folder, _, _ in os.walk(root, topdown=False) if root is not None else ():
        with suppress(OSError):
            os.rmdir(folder)
