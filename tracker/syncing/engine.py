"""Bringing runs and replays over in the right order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby, islice

from tracker.store import keys
from tracker.store.base import Info, has
from tracker.store.changes import note_changes
from tracker.store.ids import is_id
from tracker.store.kinds import Kind, Need
from tracker.store.memory import MemoryStore
from tracker.store.sealing import seal
from tracker.syncing.carrying import Carrier
from tracker.syncing.catalogue import Item, Rank, Told, sort_key
from tracker.syncing.journals import covered
from tracker.syncing.looking import Looking, Work, remembered
from tracker.syncing.needs import Needs
from tracker.syncing.record import Record, UnitRecord, fingerprint
from tracker.syncing.units import There, Unit, survey, windows

_CHUNK, _CHUNK_BYTES = 256, 32 << 20  # documents that are held in memory while their needs are looked for
_BATCH_UNITS, _BATCH_KEYS = 64, 20_000
_WINDOW_DOCUMENTS = 10_000  # that stand in no run's folder
_KEYS_OF_UNIT = 50  # where they are not listed yet
_BATCH_JOURNAL_BYTES = 256 << 20  # of open journals, which are held in memory until they are published
_JOURNALS_OF_UNIT_BYTES = 16 << 20  # where they are not listed yet, and a run may have some
_ODD = (ArithmeticError, LookupError, TypeError, ValueError)  # what frames that no writer of ours made may lead to
STRANGER = "no key of this name belongs to a store"


class Engine:
    """One pass over a source. What it has done is in the record and in the carrier's summary."""

    def __init__(self, carrier: Carrier, kinds: tuple[Kind, ...], record: Record, *, restore: bool = False) -> None:
        self.carrier, self.kinds, self.record, self.restore = carrier, kinds, record, restore
        self.needs = Needs(carrier, kinds)
        self.looking = Looking(carrier.source, carrier.target, kinds, carrier.tally.problem)
        self.summary = carrier.tally.summary
        self._owners: set[str] | None = None
        self._removed: set[str] | None = None  # runs that were removed from the target on purpose

    def bring_runs(self, only: Collection[str] | None = None) -> Iterator[int]:
        """Bring over what changed below ``runs/``; yields after every batch."""
        return self._bring_units(keys.RUNS, only)

    def bring_replays(self, about: Collection[str] | None = None) -> Iterator[int]:
        """Bring over what changed below ``replays/``, with the results of these runs alone where that is asked."""
        self._owners = None if about is None else {keys.run_document(run) for run in about}
        return self._bring_units(keys.REPLAYS)

    def _bring_units(self, folder: str, only: Collection[str] | None = None) -> Iterator[int]:
        there, expected = There(self.carrier.target, folder), 0
        for number, window in enumerate(windows(self._changed_units(folder, only))):
            if folder == keys.RUNS and number < 2:
                total = self.summary.runs + len(window) if number == 0 else self._count_runs(only)
                self.carrier.tally.expect(runs=total - expected)
                expected = total
            there.look_for([unit.prefix for unit in window])
            for batch in _batches(window):
                self._bring_batch(batch, there)
                yield len(batch)
        if folder == keys.RUNS:
            self.carrier.tally.expect(runs=self.summary.runs - expected)

    def _changed_units(self, folder: str, only: Collection[str] | None) -> Iterator[Unit]:
        """What is not as it was when it was brought over, and wanted."""
        are_runs = folder == keys.RUNS
        for unit in survey(self.carrier.source, folder, only):
            if self.restore and are_runs and self._was_removed(unit.id):
                self._let_back(unit)
            before = self.record.units.get(unit.prefix)
            if before is not None and before.digest and before.digest == unit.state:
                self._note_if_live(unit, before)
                self.carrier.tally.looked_at(are_runs)
            elif not (are_runs and self._is_unwanted(unit)):
                yield unit

    def _count_runs(self, only: Collection[str] | None) -> int:
        return sum(is_id(name) and (only is None or name in only) for name in self.carrier.source.folders(keys.RUNS))

    def _note_if_live(self, unit: Unit, before: UnitRecord) -> None:
        """A run may go on that has nothing new; one that showed no sign of life shows none without a change."""
        if before.live and self.looking.is_live(unit.id, before.seen):
            self.summary.live.append(unit.id)
        else:
            before.live = False

    def _was_removed(self, run: str) -> bool:
        if self._removed is None:
            target = self.carrier.target
            self._removed = {info.key.split("/")[1].removesuffix(".json") for info in target.list(keys.REMOVED)}
        return run in self._removed

    def _is_unwanted(self, unit: Unit) -> bool:
        """Whether the target has removed a run; it is left out then, and not looked at again before it changes."""
        if not self._was_removed(unit.id):
            return False
        self.summary.left_out[unit.prefix] = f"it was removed from {self.summary.target}; --restore brings it back"
        if not self.carrier.dry:
            self.record.units[unit.prefix] = UnitRecord(unit.state)
        self.carrier.tally.looked_at()
        return True

    def _let_back(self, unit: Unit) -> None:
        """Forget that the target has removed a run, and what was remembered of bringing it over."""
        assert self._removed is not None
        self._removed.discard(unit.id)
        if not self.carrier.dry:
            self.carrier.target.delete([keys.removal_document(unit.id)])
        self.record.units.pop(unit.prefix, None)

    def _bring_batch(self, units: list[Unit], there: There) -> None:
        works = self.carrier.each(lambda unit: self._look(unit, there), units)
        owners = {item.key: work for work in works for item in work.items}
        self.summary.left_out.update((key, STRANGER) for work in works for key in work.left_out)
        self.carrier.tally.expect(keys=len(owners), size_bytes=sum(i.info.size_bytes for w in works for i in w.items))
        self._note_changes(works)
        failed = set(self._bring_items([item for work in works for item in work.items if item.rank < Rank.REPLAY]))
        published = {id(work): self._seal_journals(work) for work in works}
        # What was sealed or compacted since it was listed arrives the next time, and the end of its attempt after that.
        late = {id(owners[key]) for key in failed if key not in self.summary.problems}
        ends = [item for work in works for item in work.items if item.rank >= Rank.REPLAY and id(work) not in late]
        failed |= set(self._bring_items(ends))
        for key in failed:
            owners[key].failed = True
        self._note_changes(works)
        for work in works:
            self._settle(work, published[id(work)])

    def _note_changes(self, works: list[Work]) -> None:
        """Before anything of these runs arrives, and after it, so that no index of the target hides it."""
        runs = [work.unit for work in works if work.items or work.journals or work.stale]
        if not self.carrier.dry:
            changed = [unit.id for unit in runs if unit.prefix.startswith(keys.RUNS)]
            note_changes(self.carrier.target, changed, each=self.carrier.each)

    def _look(self, unit: Unit, there: There) -> Work:
        work = self.looking.look(unit, self.record.units.get(unit.prefix), there)
        if self._owners is not None and unit.prefix.startswith(keys.REPLAYS):
            self._choose(work, self._owners)
        return work

    def _choose(self, work: Work, owners: set[str]) -> None:
        """Leave out the results of other runs, and the plan where no result is left."""
        plans = [item for item in work.items if item.rank < Rank.REPLAY]
        results = [item for item in work.items if item.rank >= Rank.REPLAY]
        chosen = [item for item in results if (read := self.carrier.read(item)) and read[1].owner in owners]
        work.failed = len(chosen) < len(results)
        work.items = plans + chosen if chosen else []

    def _bring_items(self, items: Iterable[Item]) -> Iterator[str]:
        """Copy items in the order of their ranks; yields the keys that had to be held back."""
        for _, group in groupby(sorted(items, key=lambda item: (item.rank, item.key)), key=lambda item: item.rank):
            for chunk in _chunks(group):
                yield from self._bring_chunk(chunk)

    def _bring_chunk(self, items: list[Item]) -> list[str]:
        documents = [item for item in items if item.kind is not None]
        payloads = [item for item in items if item.kind is None]
        arrived = self.carrier.each(self.carrier.carry, payloads)
        held = [item.key for item, ok in zip(payloads, arrived, strict=True) if not ok]
        read = self.carrier.each(self.carrier.read, documents)
        found = {item.key: (item, *each) for item, each in zip(documents, read, strict=True) if each is not None}
        held += [item.key for item in documents if item.key not in found]
        self.needs.bring(need for _, _, told in found.values() for need in told.needs)
        ready = [(item, data) for item, data, told in found.values() if self._is_ready(item, told)]
        held += found.keys() - {item.key for item, _ in ready} - self._about_removed(found.values())
        self.carrier.each(lambda pair: self.carrier.put(*pair), ready)
        return held

    def _about_removed(self, found: Iterable[tuple[Item, bytes, Told]]) -> set[str]:
        """What is about runs that the target has removed."""
        owned = [(item.key, told.owner.split("/")[1]) for item, _, told in found if told.owner is not None]
        return {key for key, run in owned if self._was_removed(run)} if owned else set()

    def _is_ready(self, item: Item, told: Told) -> bool:
        lacking = self.needs.lacks(told.needs)
        if lacking is not None:
            self.carrier.tally.problem(item.key, f"held back, because it needs {lacking}")
            return False
        if told.owner is not None and self._was_removed(told.owner.split("/")[1]):
            return False
        if told.owner is not None and not has(self.carrier.source, told.owner):
            self.summary.left_out[item.key] = f"it belongs to {told.owner}, which is not in {self.summary.source}"
            return False
        return True

    def _seal_journals(self, work: Work) -> set[str]:
        """Publish what the open journals of a run hold by now; gives the segments that this target got so far."""
        published = set(work.before.published)
        target = MemoryStore(f"dry run {id(self)}") if self.carrier.dry else self.carrier.target
        for name, journal in sorted(work.journals.items()):
            if journal.stop <= max(1, work.before.sealed.get(name, 0)):
                continue
            try:
                segments = seal(target, journal.frames, 0, journal.stop).segments
            except _ODD as exc:
                self.carrier.tally.problem(name, f"no records can be made of it: {type(exc).__name__}: {exc}")
                work.failed = True
                continue
            for segment in segments:
                published.add(str(segment))
                self.carrier.tally.brought(str(segment), "segment", target.info(str(segment)).size_bytes)
        if self.carrier.dry:
            target.delete([info.key for info in target.list()])
        return published

    def _settle(self, work: Work, published: set[str]) -> None:
        """Remove what is no longer needed in the target, and remember the unit when all of it is there."""
        copied = {item.key for item in work.items if item.category == "segment"}
        gone = set() if work.failed else covered(published | copied | work.before.seen.keys()) & published
        if not self.carrier.dry and not work.failed:
            self.carrier.target.delete([*work.stale, *sorted(gone)])
            self.record.units[work.unit.prefix] = remembered(work, (published | copied) - gone)
        self.summary.removed += len(gone)
        if work.unit.prefix.startswith(keys.RUNS):
            if work.is_live:
                self.summary.live.append(work.unit.id)
            self.carrier.tally.looked_at()

    def bring_code(self) -> None:
        """Bring over all code, also what no run names yet, or names by way of another repository only."""
        changed = list(self._changed(keys.CODE))
        names = [info.key for info in changed if sort_key(info, self.kinds) and info.key.endswith(".json")]
        if names:
            self.carrier.hold()  # before the look: what is seen here is relied on
        theirs = {info.key for info in self.carrier.target.list(keys.CODE)} if names else set()
        self.needs.know(theirs)
        waiting = [Need(key, "code") for key in names]
        for start in range(0, len(waiting), _BATCH_UNITS):
            self.needs.bring(waiting[start : start + _BATCH_UNITS])
        for key in self.needs.missing.keys() & set(names):
            self.carrier.tally.problem(key, f"held back: {self.needs.missing[key]}")
        self._remember(info for info in changed if info.key not in self.needs.missing)

    def bring_documents(self, folder: str, only: Collection[str] | None = None) -> None:
        """Bring over the documents of ``launches/`` or ``watches/``, or some of them."""
        changed = (info for info in self._changed(folder) if only is None or info.key in only)
        while infos := list(islice(changed, _WINDOW_DOCUMENTS)):
            sorted_out = [sort_key(info, self.kinds) for info in infos]
            self.summary.left_out.update(
                (info.key, STRANGER) for info, item in zip(infos, sorted_out, strict=True) if item is None
            )
            items = [item for item in sorted_out if item is not None]
            self.carrier.tally.expect(keys=len(items), size_bytes=sum(item.info.size_bytes for item in items))
            failed = set(self._bring_items(items))
            self._remember(info for info in infos if info.key not in failed)

    def launches_of(self, runs: Collection[str]) -> set[str]:
        """The keys of the pointers that lead to these runs."""
        documents = [Info(keys.run_document(run), 0) for run in runs]
        items = [item for info in documents if (item := sort_key(info, self.kinds))]
        read = self.carrier.each(self.carrier.read, items)
        launches = (each[1].document.launch_key for each in read if each is not None)
        return {keys.launch_document(launch) for launch in launches if launch is not None}

    def _changed(self, folder: str) -> Iterator[Info]:
        known = self.record.flat
        for info in self.carrier.source.list(folder):
            if not fingerprint(info) or known.get(info.key) != fingerprint(info):
                yield info

    def _remember(self, infos: Iterable[Info]) -> None:
        if not self.carrier.dry:
            self.record.flat.update((info.key, fingerprint(info)) for info in infos)


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items in groups; a group of documents fits into memory."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += item.info.size_bytes if item.kind is not None else 0
        if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _batches(units: Iterable[Unit]) -> Iterator[list[Unit]]:
    """Units in groups that are worked on together, small enough to be held in memory."""
    batch: list[Unit] = []
    size = journal_bytes = 0
    for unit in units:
        more = _journal_bytes(unit)
        if batch and journal_bytes + more > _BATCH_JOURNAL_BYTES:
            yield batch
            batch, size, journal_bytes = [], 0, 0
        batch.append(unit)
        size += len(unit.infos) or _KEYS_OF_UNIT
        journal_bytes += more
        if len(batch) >= _BATCH_UNITS or size >= _BATCH_KEYS:
            yield batch
            batch, size, journal_bytes = [], 0, 0
    if batch:
        yield batch


def _journal_bytes(unit: Unit) -> int:
    """How many bytes of journals will be read of a unit, or may be, where it does not show its state."""
    if not unit.infos:
        return 0 if unit.state else _JOURNALS_OF_UNIT_BYTES
    return sum(info.size_bytes for info in unit.infos if info.key.endswith(".journal"))
