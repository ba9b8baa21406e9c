"""What of one run or replay is not in the target, and what is remembered of it afterwards."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from tracker.errors import BadKey, Corrupt, KeyNotFound
from tracker.store import documents, keys
from tracker.store.base import Info, Store
from tracker.store.ids import is_id
from tracker.store.keys import SegmentKey
from tracker.store.kinds import Kind
from tracker.store.leases import derive_status
from tracker.syncing.catalogue import Item, read_document, sort_key
from tracker.syncing.journals import OpenJournal, covered, open_journals
from tracker.syncing.record import UnitRecord, fingerprint
from tracker.syncing.units import There, Unit

_JOURNAL, _SEGMENT = ".journal", ".parquet"


@dataclass
class Work:
    """What is to be done about one unit."""

    unit: Unit
    items: list[Item] = field(default_factory=list)
    journals: dict[str, OpenJournal] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)  # leases in the target that an end replaces
    left_out: list[str] = field(default_factory=list)
    postponed: set[str] = field(default_factory=set)  # keys that are brought over the next time
    is_live: bool = False
    is_over: bool = False  # every attempt has its end, and no journal waits
    failed: bool = False  # something had to be held back
    before: UnitRecord = field(default_factory=UnitRecord)


class Looking:
    """Compares units of the source with the target."""

    def __init__(
        self, source: Store, target: Store, kinds: Sequence[Kind], on_damage: Callable[[str, str], None]
    ) -> None:
        self.source, self.target, self.kinds = source, target, kinds
        self._on_damage = on_damage  # told of keys of the source of which nothing can be read

    def look(self, unit: Unit, before: UnitRecord | None, there: There) -> Work:
        """What of a unit is to be brought over. ``before``: what is remembered; ``there``: what the target has.

        Journals are read before segments are listed, so a record that moves from one to the other is seen.
        """
        if not unit.infos:
            unit = Unit(unit.prefix, unit.state, list(self.source.list(unit.prefix)))
        work = Work(unit, before=before or UnitRecord())
        if unit.has_journals:
            waiting = [info for info in unit.infos if info.key.endswith(_JOURNAL)]
            found = open_journals(
                self.source,
                waiting,
                is_over=lambda attempt: not self._lives(unit.id, attempt),
                on_damage=self._on_damage,
            )
            work.unit, still = self._listed_after(unit, found.keys())
            work.journals = {key: found[key] for key in still}
        theirs = {} if work.before.seen else there.of(unit.prefix)
        self._judge(work)
        self._sort(work, theirs)
        return work

    def _listed_after(self, unit: Unit, journals: Collection[str]) -> tuple[Unit, list[str]]:
        """A unit listed again after these journals were read, and those of them that are there still.

        A listing takes its time and tells segments before journals: what was sealed in the middle of it shows neither.
        So it is repeated until no further journal vanishes; the segments of all that did so before are told then.
        """
        while True:
            unit = Unit(unit.prefix, unit.state, list(self.source.list(unit.prefix)))
            names = {info.key for info in unit.infos}
            still = [key for key in journals if key in names]
            if len(still) == len(journals):
                return unit, still
            journals = still

    def _judge(self, work: Work) -> None:
        """Whether the run goes on, and whether anything more can come from it without a new attempt or replay."""
        names = {info.key for info in work.unit.infos}
        if not work.unit.prefix.startswith(keys.RUNS):
            return
        attempts = _attempts(names)
        work.is_live = self.is_live(work.unit.id, names)
        work.is_over = bool(attempts) and not _open(attempts, names) and not work.unit.has_journals

    def is_live(self, run: str, names: Collection[str]) -> bool:
        """Whether a run of the source goes on, of which these are the keys."""
        return any(self._lives(run, name.split("/")[3]) for name in _open(_attempts(names), names))

    def _lives(self, run: str, attempt: str) -> bool:
        key = keys.attempt_document(run, attempt, "lease")
        try:
            lease = documents.decode(self.source.get(key), documents.Lease, key=key)
            written = self.source.info(key).modified
        except (KeyNotFound, Corrupt):
            return False
        return derive_status(None, lease, now=time.time(), written=written) == "running"

    def _sort(self, work: Work, theirs: dict[str, Info]) -> None:
        skipped = self._needless_segments(work, theirs)
        skipped |= _needless_leases({info.key for info in work.unit.infos}, theirs)
        for info in work.unit.infos:
            item = sort_key(info, self.kinds)
            if item is None:
                work.left_out.append(info.key)
            elif _goes_on(info.key, work.journals.values()):
                work.postponed.add(info.key)
            elif item.category != "journal" and info.key not in skipped and not self._is_done(item, work, theirs):
                work.items.append(replace(item, is_new=info.key not in theirs and info.key not in work.before.seen))
        ends = [info.key for info in work.unit.infos if info.key.endswith("/end.json")]
        leases = [end.removesuffix("end.json") + "lease.json" for end in ends if end not in work.postponed]
        work.stale += [lease for lease in leases if lease in theirs or lease in work.before.seen]

    def _is_done(self, item: Item, work: Work, theirs: dict[str, Info]) -> bool:
        """Whether the target has this already, or something that is as good."""
        if item.key in work.before.seen:
            return bool(work.before.seen[item.key]) and work.before.seen[item.key] == fingerprint(item.info)
        found = theirs.get(item.key)
        if found is None:
            return False
        if item.category == "segment":
            # Equal names mean equal rows; where a replay's slice was done again, the fuller answer stays.
            return found.size_bytes >= item.info.size_bytes and found.size_bytes > 0
        if item.kind is None or found.size_bytes != item.info.size_bytes:
            return False
        return item.kind.merge is None or self._is_same(item, found)

    def _is_same(self, item: Item, theirs: Info) -> bool:
        """Whether both stores have the same bytes of a document; not read where the servers tell. A damaged one is not
        as good as the same: it is to be told.
        """
        if item.info.etag and item.info.etag == theirs.etag:
            return True
        with suppress(KeyNotFound, Corrupt, BadKey):
            data = self.source.get(item.key)
            read_document(data, item)
            is_told = theirs.etag == hashlib.md5(data, usedforsecurity=False).hexdigest()
            return is_told or data == self.target.get(item.key)
        return False

    def _needless_segments(self, work: Work, theirs: dict[str, Info]) -> set[str]:
        """Segments that others cover, here or in the target, or that journals tell better.

        What was made from a journal that is still open is left to its next publication: half of one and half of the
        other would overlap.
        """
        own = [info.key for info in work.unit.infos if info.key.endswith(_SEGMENT)]
        parsed = {key: named for key in own if (named := SegmentKey.parse(key))}
        waiting = [Info(key, 0) for key in theirs if key.endswith(_JOURNAL)]
        told = open_journals(self.target, waiting).values()
        gone = covered({*own, *(key for key in theirs if key.endswith(_SEGMENT))})
        gone |= {key for key, named in parsed.items() if any(journal.holds(named) for journal in told)}
        for journal in work.journals.values():
            told_by = journal.holds if journal.frames.dropped_bytes else journal.touches
            work.postponed.update(key for key, named in parsed.items() if told_by(named))
        return gone | work.postponed


def _attempts(names: Iterable[str]) -> set[str]:
    """The folders of attempts among the keys of a run."""
    parts = (name.split("/") for name in names)
    return {"/".join(each[:4]) for each in parts if len(each) > 4 and each[2] == "attempts" and is_id(each[3])}


def _open(attempts: Iterable[str], names: Collection[str]) -> list[str]:
    """Those that have no end."""
    return [attempt for attempt in attempts if f"{attempt}/end.json" not in names]


def _goes_on(key: str, journals: Iterable[OpenJournal]) -> bool:
    """Whether a key is the end of an attempt whose last records may still be on their way."""
    if not key.endswith("/end.json"):
        return False
    attempt = key.split("/")[3]
    return any(journal.key.attempt == attempt and not journal.is_final for journal in journals)


def _needless_leases(own: set[str], theirs: Collection[str]) -> set[str]:
    """Signs of life of attempts that have ended."""
    leases = [key for key in own if key.startswith(keys.RUNS) and key.endswith("/lease.json")]
    ends = {key: key.removesuffix("lease.json") + "end.json" for key in leases}
    return {lease for lease, end in ends.items() if end in own or end in theirs}


def remembered(work: Work, published: Iterable[str]) -> UnitRecord:
    """What to remember of a unit that was brought over."""
    if work.is_over or not work.unit.prefix.startswith(keys.RUNS):
        return UnitRecord(work.unit.state)
    late = work.postponed
    seen = {
        info.key: fingerprint(info)
        for info in work.unit.infos
        if info.key not in late and not info.key.endswith(_JOURNAL)
    }
    sealed = {key: journal.stop for key, journal in work.journals.items()}
    return UnitRecord(work.unit.state, seen, sealed, tuple(sorted(published)), work.is_live)
