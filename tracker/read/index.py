"""Which rows of the index hold, and which runs have to be read themselves (docs/design/0017)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tracker.errors import Corrupt, KeyNotFound
from tracker.read.batches import FORMAT_NUMBER, GONE, SETTLED, Batch, IndexFormat, open_batch
from tracker.read.catalog import OnDamage
from tracker.read.notices import left_out
from tracker.read.parallel import each
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import decode

_RELOADS = 3  # a batch can only vanish when another one has taken over its rows


@dataclass(frozen=True)
class Row:
    """Where a run stands in the index."""

    batch: Batch
    number: int

    @property
    def run(self) -> str:
        return self.batch.runs[self.number]

    @property
    def version(self) -> int:
        return self.batch.versions[self.number]

    @property
    def state(self) -> str:
        return self.batch.states[self.number]

    @property
    def fingerprint(self) -> str:
        return self.batch.fingerprints[self.number]


@dataclass
class Listing:
    """What there is below ``index/``: batches, changes by run, and packs."""

    batches: list[str] = field(default_factory=list)
    changes: dict[str, list[str]] = field(default_factory=dict)
    packs: list[str] = field(default_factory=list)
    has_format: bool = False


def list_index(store: Store) -> Listing:
    """One listing. Changes come before batches in it, so a change that is not seen is in the batches that are."""
    found = Listing()
    for info in store.list(keys.INDEX):
        parts = info.key.split("/")
        if info.key == keys.INDEX_FORMAT:
            found.has_format = True
        elif info.key.startswith(keys.INDEX_CHANGED) and len(parts) == 4 and ids.is_id(parts[2]):
            found.changes.setdefault(parts[2], []).append(info.key)
        elif info.key.startswith(keys.INDEX_RUNS) and len(parts) == 3:
            name = parts[2].removesuffix(".parquet")
            if ids.is_id(name) and parts[2] != name:
                found.batches.append(name)
        elif info.key.startswith(keys.INDEX_DATA):
            found.packs.append(info.key)
    return found


@dataclass
class Index:
    """The rows that hold, one a run; ``torn`` are runs of which two rows say different things."""

    store: Store
    listing: Listing
    batches: dict[str, Batch]
    rows: dict[str, Row]
    torn: frozenset[str]
    replaced: frozenset[str]
    horizon: str
    damaged: frozenset[str] = frozenset()

    @property
    def is_whole(self) -> bool:
        """Whether all its batches could be read: one that could not may hold later rows than those that are here."""
        return self.damaged <= self.replaced

    @property
    def direct(self) -> set[str]:
        """The runs that must be read themselves: those that changed, that go on, or that cannot be told whole."""
        changed = set(self.listing.changes) | self.torn
        return changed | {run for run, row in self.rows.items() if row.state not in (SETTLED, GONE)}

    def settled(self, row: Row) -> bool:
        """Whether the row says all that there is to know."""
        return row.state == SETTLED and row.run not in self.listing.changes and row.run not in self.torn


def load_index(store: Store, *, on_damage: OnDamage = left_out) -> Index | None:
    """The index of a store; ``None`` where there is none, or none that can be used.

    A damaged batch is left out with a warning, and the index is not whole then: its rows are no answer for readers.
    Whatever the index lacks is read from the runs, so it may be deleted, damaged or behind at any moment.
    """
    for _ in range(_RELOADS):
        listing = list_index(store)
        if not listing.batches or not listing.has_format:
            return None
        try:
            return _load(store, listing, on_damage)
        except KeyNotFound:
            continue
    return None


def read_generation(store: Store, on_damage: OnDamage = left_out) -> str | None:
    """Which generation of batches is in force; ``None`` when the index was deleted, or a newer version made it."""
    try:
        found = decode(store.get(keys.INDEX_FORMAT), IndexFormat, key=keys.INDEX_FORMAT)
    except KeyNotFound:
        return None
    except Corrupt as exc:
        on_damage(keys.INDEX_FORMAT, exc)
        return None
    return found.generation if found.format <= FORMAT_NUMBER else None


def _load(store: Store, listing: Listing, on_damage: OnDamage) -> Index | None:
    generation = read_generation(store, on_damage)
    if generation is None:
        return None
    opened = each(store, lambda name: _open(store, name, on_damage), listing.batches)
    damaged = frozenset(name for name, batch in zip(listing.batches, opened, strict=True) if batch is None)
    batches = {batch.name: batch for batch in opened if batch is not None and batch.about.generation == generation}
    replaced = frozenset(name for batch in batches.values() for name in batch.about.replaces)
    live = {name: batch for name, batch in batches.items() if name not in replaced}
    rows, torn = resolve(live.values())
    return Index(store, listing, live, rows, torn, replaced, _horizon(batches, replaced), damaged)


def _open(store: Store, name: str, on_damage: OnDamage) -> Batch | None:
    try:
        return open_batch(store, name)
    except Corrupt as exc:
        on_damage(keys.index_runs(name), f"{exc}; the runs themselves are read")
        return None


def resolve(batches: Iterable[Batch]) -> tuple[dict[str, Row], frozenset[str]]:
    """The row of each run that was read last, and the runs of which two equally late rows say different things."""
    rows: dict[str, Row] = {}
    torn: dict[str, int] = {}
    for batch in sorted(batches, key=lambda batch: batch.name, reverse=True):
        for number, (run, version) in enumerate(zip(batch.runs, batch.versions, strict=True)):
            known = rows.get(run)
            if known is None or version > known.version:
                rows[run] = Row(batch, number)
            elif version == known.version:
                row = Row(batch, number)
                if (row.fingerprint, row.state) != (known.fingerprint, known.state):
                    torn[run] = version
    return rows, frozenset(run for run, version in torn.items() if rows[run].version == version)


def _horizon(batches: dict[str, Batch], replaced: frozenset[str]) -> str:
    """The id below which every run has a row; empty when a batch is missing that is known to have stood here."""
    stating = [batch for batch in batches.values() if batch.about.horizon]
    if not stating:
        return ""
    latest = max(stating, key=lambda batch: batch.about.horizon)
    there = batches.keys() | replaced
    return latest.about.horizon if set(latest.about.live) <= there else ""
