"""Removing runs from the source once the target is proven to have them, byte by byte."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress

from tracker.errors import Conflict, Corrupt, KeyNotFound
from tracker.store import documents, ids, keys
from tracker.store.base import Info, Store, has
from tracker.store.changes import changing
from tracker.store.holds import Sweeping, held_keys
from tracker.store.kinds import Kind
from tracker.store.objects import hash_key
from tracker.syncing.carrying import Carrier
from tracker.syncing.catalogue import Item, Told, sort_key
from tracker.syncing.journals import covered
from tracker.syncing.record import Record
from tracker.syncing.units import Unit, list_units

_BATCH = 500
_CLOCKS_APART_MS = 86_400_000  # at most, of the machines that plan replays


class Deleting:
    """Deletes from the source the ended runs of which the target has every byte; the others are kept, with the reason.

    Their objects go with them unless another document needs them, or a run goes on that may be about to. Code and
    launches stay: they are small, and a further attempt finds its run by them. The run's own document goes first, so
    that a kill in the middle leaves keys without a run, which the next call deletes, and never a run that looks whole.
    """

    def __init__(self, carrier: Carrier, kinds: tuple[Kind, ...], record: Record) -> None:
        self.carrier, self.kinds, self.record = carrier, kinds, record
        self.source, self.target = carrier.source, carrier.target
        self.summary = carrier.tally.summary
        self._replays: set[str] = set()  # that were looked at
        self._since: str | None = None  # ids of replays that are planned from now on are larger
        self._results: dict[str, list[str]] = defaultdict(list)  # keys of results by the run that they are about
        self._waits_for: set[tuple[str, str, int]] = set()  # replay, run and slice that have no result
        self._done: set[tuple[str, str, int]] = set()
        self._waiting: set[str] = set()  # the runs among them

    def delete(self, only: Collection[str] | None) -> None:
        """Delete what may go. Whoever records into the source meanwhile loses nothing."""
        self._look_at_replays()
        freed: set[str] = set()
        for unit in list_units(self.source, keys.RUNS, only):
            results = list(self._results[unit.id])
            reason = self._reason_to_stay(unit) or self._reason_to_wait(unit)
            objects, reason = (set(), reason) if reason else self._prove(unit, results)
            reason = reason or self._reason_since(unit, results)
            if reason is not None:
                self.summary.kept_runs[unit.id] = reason
                continue
            with changing(self.source, unit.id):
                self.source.delete([keys.run_document(unit.id)])
                self.source.delete([*results, *(info.key for info in unit.infos)])
            remove_empty_folders(self.source, unit.prefix)
            self.record.units.pop(unit.prefix, None)
            self.summary.deleted_runs.append(unit.id)
            freed |= objects
        self._delete_objects(freed)

    def _look_at_replays(self) -> None:
        """Take in the replays that were planned since the last look."""
        names = self._new_replays()
        if names is not None and not names:
            return
        for unit in list_units(self.source, keys.REPLAYS, names):
            self._replays.add(unit.id)
            for item, told in self._read(unit.infos):
                if told.owner is not None:
                    run = told.owner.split("/")[1]
                    self._results[run].append(item.key)
                    self._done.add((unit.id, run, told.document.number))
                slices = getattr(told.document, "slices", ())
                self._waits_for.update((unit.id, piece.run, piece.number) for piece in slices)
        self._waits_for -= self._done
        self._waiting = {run for _, run, _ in self._waits_for}

    def _new_replays(self) -> set[str] | None:
        """Those that were not looked at, each time by one short listing; ``None`` for all of them, the first time."""
        if self._since is None:
            self._since = ids.first_id(time.time_ns() // 1_000_000 - _CLOCKS_APART_MS)
            return None
        names = self.source.folders(keys.REPLAYS, after=self._since)
        return {name for name in names if ids.is_id(name)} - self._replays

    def _reason_to_wait(self, unit: Unit) -> str | None:
        is_whole = any(info.key == keys.run_document(unit.id) for info in unit.infos)  # else a kill left the rest
        return "a replay of it is not finished" if is_whole and unit.id in self._waiting else None

    def _reason_since(self, unit: Unit, results: list[str]) -> str | None:
        """What happened while a run was compared, which may take hours for many."""
        self._look_at_replays()
        if results != self._results[unit.id] or list(self.source.list(unit.prefix)) != unit.infos:
            return "something was written to it meanwhile"
        return self._reason_to_wait(unit)

    def _reason_to_stay(self, unit: Unit) -> str | None:
        names = {info.key for info in unit.infos}
        attempts = {key.split("/")[3] for key in names if key.startswith(keys.attempts_folder(unit.id))}
        if any(key.endswith(".journal") for key in names):
            return "records of it wait in journals"
        if not attempts or any(keys.attempt_document(unit.id, each, "end") not in names for each in attempts):
            return "it has not ended"
        if any(unit.id in key for key in (*self.summary.problems, *self.summary.left_out)):
            return "not all of it was brought over"
        return None

    def _prove(self, unit: Unit, results: list[str]) -> tuple[set[str], str | None]:
        """The objects of a run, and the first key that the target does not have as the source does."""
        read = self._read(unit.infos)
        problem = next((info.key for info in unit.infos if info.key in self.summary.problems), None)
        if problem is not None:
            return set(), f"{problem} cannot be read"
        needs = {need.key for _, told in read for need in told.needs}
        objects = {key for key in needs if key.startswith(keys.OBJECTS)}
        unneeded = covered(info.key for info in unit.infos)
        own = [info.key for info in unit.infos if info.key not in unneeded and not info.key.endswith("/lease.json")]
        wanted = [*own, *results, *sorted(objects)]
        for key, same in zip(wanted, self.carrier.each(self._is_same, wanted), strict=True):
            if not same:
                return set(), f"{key} is not the same in the target"
        for key in needs - objects:
            if not has(self.target, key):
                return set(), f"{key} is not in the target"
        return objects, None

    def _is_same(self, key: str) -> bool:
        """Whether the target has the bytes of a key, or a document that has taken in what this one says."""
        try:
            if hash_key(self.source, key) == hash_key(self.target, key):
                return True
            item = sort_key(Info(key, 0), self.kinds)
            if item is None or item.kind is None or item.kind.merge is None:
                return False
            ours = documents.decode(self.source.get(key), item.kind.form, key=key)
            theirs = documents.decode(self.target.get(key), item.kind.form, key=key)
            return documents.encode(item.kind.merge(ours, theirs)) == documents.encode(theirs)
        except (KeyNotFound, Corrupt):
            return False

    def _read(self, infos: Collection[Info]) -> list[tuple[Item, Told]]:
        items = [item for info in infos if (item := sort_key(info, self.kinds)) and item.kind is not None]
        read = self.carrier.each(self.carrier.read, items)
        return [(item, each[1]) for item, each in zip(items, read, strict=True) if each is not None]

    def _delete_objects(self, freed: set[str]) -> None:
        """Delete the objects that nothing in the source needs any more and no writer holds; all of them stay while a
        run goes on, something is copied into the source, or a collection is at work there, which frees them, too.
        """
        before = set(self.source.folders(keys.RUNS))
        if not freed or self._somebody_writes():
            return
        sweeping, unneeded = Sweeping(self.source, freed), list[str]()
        try:
            held = held_keys(self.source, sweeping.begin())
            if held is None:
                return
            unneeded = sorted(freed - held - self._needed(sweeping))  # documents are read after the holds
            for start in range(0, len(unneeded), _BATCH):
                sweeping.delete(unneeded[start : start + _BATCH])
        except Conflict:
            return
        finally:
            sweeping.end()
        if set(self.source.folders(keys.RUNS)) - before:  # a new run may have found one of them a moment ago
            for key in unneeded:
                self.source.put(key, self.target.get(key))

    def _somebody_writes(self) -> bool:
        for unit in list_units(self.source, keys.RUNS):
            if self._reason_to_stay(unit) in {"records of it wait in journals", "it has not ended"}:
                return True
        return False

    def _needed(self, sweeping: Sweeping) -> set[str]:
        found: set[str] = set()
        for folder in (keys.RUNS, keys.REPLAYS):
            for unit in list_units(self.source, folder):
                sweeping.renew()
                found.update(need.key for _, told in self._read(unit.infos) for need in told.needs)
        code = self._read(list(self.source.list(keys.CODE)))
        return found | {need.key for _, told in code for need in told.needs}


def remove_empty_folders(store: Store, prefix: str) -> None:
    """Remove what deleted keys leave of folders in a local store; one that somebody fills again stays."""
    root = store.local_path(prefix.rstrip("/"))
    for folder, _, _ in os.walk(root, topdown=False) if root is not None else ():
        with suppress(OSError):
            os.rmdir(folder)
