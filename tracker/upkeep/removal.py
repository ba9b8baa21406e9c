"""Removing runs, in an order that never shows half of one (docs/design/0018)."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from tracker.errors import Conflict, Corrupt, InputError, KeyExists, KeyNotFound
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
        return self._below(keys.attempts_folder(self.run))

    @property
    def marks(self) -> frozenset[str]:
        """The changes of its tags and its pin."""
        return self._below(keys.marks_folder(self.run))

    def _below(self, folder: str) -> frozenset[str]:
        return frozenset(info.key.split("/")[3] for info in self.infos if info.key.startswith(folder))


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
        next ``finish_removals`` does the rest. ``Conflict`` when the run was started again since it was looked at, or
        got a mark; it is whole then.
        """
        note_changes(self.store, [own.run])
        try:
            launch_key = self._launch_key_of(own.run)
            removal = Removal(run=own.run, removed=time.time(), reason=reason, launch_key=launch_key)
            self.store.put(keys.removal_document(own.run), encode(removal))
            now = self.belongings(own.run)
            if now.attempts - own.attempts:
                raise self._spared(own.run, "started again")
            if now.marks - own.marks:
                raise self._spared(own.run, "tagged or pinned")
            return self._delete(now, launch_key)
        finally:
            note_changes(self.store, [own.run])

    def finish(self, own: Belongings) -> int:
        """Remove what is left of a run whose removal was interrupted; ``Conflict`` as when it is removed."""
        key = keys.removal_document(own.run)
        note_changes(self.store, [own.run])
        try:
            return self._delete(own, decode(self.store.get(key), Removal, key=key).launch_key)
        finally:
            note_changes(self.store, [own.run])

    def _delete(self, own: Belongings, launch_key: str | None) -> int:
        """The run's own document goes first: from then on nobody sees the run. What leads to it goes next.

        An attempt writes its lease before it looks for that document, and writes one where there is none. So those that
        found it are listed after it is deleted, and it is put back; for the others a new one stands there, which stays.
        """
        key = keys.run_document(own.run)
        document = self._found(key)
        self.store.delete([key])
        if self._attempts(own.run) - own.attempts:
            if document is not None:
                with suppress(KeyExists):
                    self.store.create(key, document)
            raise self._spared(own.run, "started again")
        pointers = [] if launch_key is None else self._pointer(launch_key, own.run)
        others = [info.key for info in own.infos if info.key != key]
        self.store.delete([*pointers, *(info.key for info in own.results), *others])
        remove_empty_folders(self.store, keys.run_folder(own.run))
        return len(own.infos) + len(own.results) + len(pointers)

    def _attempts(self, run: str) -> set[str]:
        return {info.key.split("/")[3] for info in self.store.list(keys.attempts_folder(run))}

    def _spared(self, run: str, what: str) -> Conflict:
        """Take back that a run is removed, because somebody wants it."""
        self.store.delete([keys.removal_document(run)])
        return Conflict(f"run {run} was {what} a moment ago; it is not removed")

    def _found(self, key: str) -> bytes | None:
        try:
            return self.store.get(key)
        except KeyNotFound:
            return None

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
    """Why a run may not be removed. One of which a document cannot be read may be pinned."""
    if any(attempt.status == "running" for attempt in view.attempts):
        return "it is still running"
    if view.unread and not force:
        return _counts_as_pinned(view.unread[0])
    return "it is pinned" if view.pinned and not force else None


def obstacle_unseen(store: Store, own: Belongings, *, force: bool = False) -> str | None:
    """The same of a run that has no view, because its ``run.json`` is damaged or not there."""
    if not own.infos:
        return "there is no such run"
    if _is_running(store, own):
        return "it is still running"
    key = keys.run_document(own.run)
    return _counts_as_pinned(key) if not force and any(info.key == key for info in own.infos) else None


def _counts_as_pinned(key: str) -> str:
    return f"{key} cannot be read, so it counts as pinned"


def remove_runs(
    store: Store, runs: Iterable[str], *, force: bool = False, dry_run: bool = False, reason: str = ""
) -> Removed:
    """Remove runs, given by full id: their records, checkpoints, launches, and what replays answered about them.

    Their payloads and code go with the next ``gc``, where nothing else needs them. No sync brings a removed run back
    unless it is told to. Runs that go on, and without ``force`` pinned ones and those of which a document cannot be
    read, are left alone and named in ``kept``.
    """
    wanted = list(dict.fromkeys(runs))
    found = Removed(dry_run=dry_run)
    remover = Remover(store)
    for run in wanted:
        own = remover.belongings(run)  # before it is looked at: an attempt that begins later is not among them
        views = scan(store, [run])
        why = obstacle(views[0], force=force) if views else obstacle_unseen(store, own, force=force)
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
    """Whether an attempt of the run goes on, or somebody wrote of it after the removal, by the store's own clock: those
    of the machines may be hours apart. As long as people see the run, also a tag or a pin says that it is wanted.
    """
    key = keys.removal_document(own.run)
    try:
        removed_at, removed = store.info(key).modified, decode(store.get(key), Removal, key=key).removed
    except (KeyNotFound, Corrupt):
        return True
    is_seen = any(info.key == keys.run_document(own.run) for info in own.infos)
    folders = [keys.attempts_folder(own.run), *([keys.marks_folder(own.run)] if is_seen else [])]
    signs = [info for info in own.infos if info.key.startswith(tuple(folders))]
    by_store = removed_at is not None and all(info.modified is not None for info in signs)
    return any(_is_later(info, removed_at if by_store else None, removed) for info in signs) or _is_running(store, own)


def _is_later(info: Info, removed_at: float | None, removed: float) -> bool:
    """Whether a document was written after a removal; where the store's clock does not tell, by the id in its name."""
    if removed_at is not None and info.modified is not None and info.modified != removed_at:
        return info.modified > removed_at
    named = info.key.split("/")[3].removesuffix(".json")
    return ids.is_id(named) and ids.created_ms(named) > removed * 1000


def _is_running(store: Store, own: Belongings) -> bool:
    """Whether one of the attempts of a run is running."""
    signs = [info for info in own.infos if info.key.startswith(keys.attempts_folder(own.run))]
    ended = {info.key for info in signs if info.key.endswith("/end.json")}
    leases = [info for info in signs if info.key.endswith("/lease.json")]
    return any(info.key.replace("/lease.json", "/end.json") not in ended and goes_on(store, info) for info in leases)


def goes_on(store: Store, info: Info) -> bool:
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
        with suppress(Conflict):  # it was started again
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
