"""What runs a store has: their documents as one view a run, and finding a run by what people type."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from tracker.errors import DamagedDocument, KeyNotFound, RunNotFound
from tracker.read.notices import left_out
from tracker.read.parallel import each
from tracker.read.source import Located
from tracker.read.summary import Summary, read_summary
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import (
    CodeDocument,
    EndDocument,
    Lease,
    Mark,
    RankFailure,
    RunDocument,
    StartDocument,
    Status,
    decode,
)
from tracker.store.leases import derive_status
from tracker.store.marks import is_pinned, tags_after
from tracker.store.segments import last_record

LATEST = "latest"
_WORTH_INDEX = 50  # runs; fewer are read sooner than the index
_MARKS = "marks"  # beside the ids of attempts
Document = TypeVar("Document", bound=msgspec.Struct)


@dataclass(frozen=True, eq=False)
class AttemptView:
    """One try at a run, numbered from 1; ``start`` and ``code`` are fetched when they are asked for."""

    run: str
    attempt: str
    number: int
    store: Store = field(repr=False)
    now: float = field(repr=False)
    end: EndDocument | None = field(default=None, repr=False)
    lease: Lease | None = field(default=None, repr=False)
    written: float | None = field(default=None, repr=False)  # when the lease was, by the store's clock

    @property
    def status(self) -> Status:
        """How the attempt stands, derived from its end or its signs of life."""
        return derive_status(self.end, self.lease, now=self.now, written=self.written)

    @property
    def started(self) -> datetime:
        """When the attempt began: its id says it, to the millisecond."""
        return moment(ids.created_ms(self.attempt) / 1000)

    @property
    def ended(self) -> datetime | None:
        """When the attempt ended; for one that was killed its last sign of life; ``None`` while it runs."""
        if self.end is not None:
            return moment(self.end.ended)
        if self.lease is None or self.status == "running":
            return None
        return moment(max(self.lease.renewed, self._last_record))

    @cached_property
    def _last_record(self) -> float:
        """When the last record was committed that waits in a journal, in Unix seconds."""
        return last_record(self.store, self.run, self.attempt)

    @cached_property
    def start(self) -> StartDocument | None:
        """What was captured at the start."""
        return _document(self.store.get, keys.attempt_document(self.run, self.attempt, "start"), StartDocument)

    @cached_property
    def code(self) -> CodeDocument | None:
        """The snapshot of the code; ``None`` until it has arrived."""
        return _document(self.store.get, keys.attempt_document(self.run, self.attempt, "code"), CodeDocument)


@dataclass(frozen=True, eq=False)
class RunView:
    """One run as its documents tell it. Nothing of it changes after it was read; read again to see a run go on."""

    document: RunDocument
    attempts: tuple[AttemptView, ...]
    store: Store = field(repr=False)
    marks: tuple[Mark, ...] = ()  # changes of its tags and its pin, in the order of time
    located: Located | None = field(default=None, repr=False)  # where an index knows its data to be
    unread: tuple[str, ...] = ()  # its documents that are there and cannot be read: what they say is not known

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<run {self.short}{name} of {self.project}: {self.script}, {self.status}>"

    @property
    def run(self) -> str:
        """The full id."""
        return self.document.run

    @property
    def short(self) -> str:
        """The last eight characters of the id."""
        return ids.short(self.run)

    @property
    def project(self) -> str:
        """The project that the run belongs to."""
        return self.document.project

    @property
    def name(self) -> str | None:
        """The name that its user gave it."""
        return self.document.name

    @property
    def script(self) -> str:
        """What was run."""
        return self.document.script

    @property
    def parent(self) -> str | None:
        """The run that started it."""
        return self.document.parent

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags: those that it was given at the start, as they were changed since."""
        return tags_after(self.document.tags, self.marks)

    @property
    def pinned(self) -> bool:
        """Whether it is kept whatever policies of retention say."""
        return is_pinned(self.marks)

    @property
    def started(self) -> datetime:
        """When its first attempt began."""
        return moment(self.document.created)

    @property
    def ended(self) -> datetime | None:
        """When its last attempt ended; ``None`` while it runs, and where nothing says it."""
        return self.attempts[-1].ended if self.attempts else None

    @property
    def duration(self) -> float | None:
        """Seconds from the first start to the end, or until now for a run that goes on."""
        if not self.attempts:
            return None
        last = self.attempts[-1]
        ended = moment(last.now) if last.status == "running" else last.ended
        return None if ended is None else max(0.0, (ended - self.started).total_seconds())

    @property
    def status(self) -> Status:
        """How its last attempt stands."""
        return self.attempts[-1].status if self.attempts else derive_status(None, None, now=time.time())

    @property
    def code(self) -> CodeDocument | None:
        """The code of its last attempt that has a snapshot."""
        return next((attempt.code for attempt in reversed(self.attempts) if attempt.code is not None), None)

    @property
    def start(self) -> StartDocument | None:
        """What its last attempt was started with: command line, environment, packages, host."""
        return next((attempt.start for attempt in reversed(self.attempts) if attempt.start is not None), None)

    @property
    def environment(self) -> Mapping[str, str]:
        """The captured environment variables of its last attempt."""
        return {} if self.start is None else self.start.environment

    @property
    def arguments(self) -> dict[str, Any]:
        """Its arguments by name."""
        return self._summary.arguments

    @property
    def summary(self) -> dict[str, Any]:
        """The last value outside all loops of every metric, by column name."""
        return self._summary.values

    @cached_property
    def _summary(self) -> Summary:
        ends = [attempt.end for attempt in self.attempts if attempt.end is not None]
        if ends and len(ends) == len(self.attempts):
            return Summary.of_ends(ends)
        return read_summary(self.store, self.run)  # a run that is alive, or died without a word

    def mapping(self) -> dict[str, Any]:
        """Identity, arguments and summary under one name each, as ``where`` sees them; what was logged wins."""
        own = {name: getattr(self, name) for name in IDENTITY}
        return own | self.summary | self.arguments


IDENTITY = ("run", "project", "name", "script", "started", "ended", "duration", "status", "parent", "tags")


def moment(seconds: float) -> datetime:
    """A time in UTC; ``ValueError`` where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError) as exc:
        raise ValueError(f"{seconds} seconds after 1970 are no time that can be shown") from exc


def scan(store: Store, ids_wanted: Iterable[str] | None = None) -> list[RunView]:
    """All runs of a store, or those with these full ids, oldest first.

    From its index where it has one, and the runs that changed since from the runs themselves. Without one: one listing,
    and no more gets than there are documents that tell a run's state. A run whose documents are damaged is left out
    with a warning, its neighbours are not touched.
    """
    wanted = None if ids_wanted is None else set(ids_wanted)
    if wanted is None or len(wanted) >= _WORTH_INDEX:
        from tracker.read.indexed import scan_index

        found = scan_index(store, wanted)
        if found is not None:
            return found
    return scan_runs(store, wanted)


def scan_runs(store: Store, wanted: Collection[str] | None = None) -> list[RunView]:
    """The same from the runs themselves."""
    found: dict[str, Documents] = {}
    prefixes = [keys.RUNS] if wanted is None else [keys.run_folder(run) for run in sorted(wanted)]
    for listing in each(store, lambda prefix: list(store.list(prefix)), prefixes):
        for info in listing:
            _note(found, info.key, info.modified)
    now = time.time()
    views = each(store, lambda run: build_view(store, run, found[run], now), sorted(found))
    return [view for view in views if view is not None]


Documents = dict[str, dict[str, float | None]]
"""Of a run: by attempt the names of its documents, with the times at which the store says that they were written."""


def _note(found: dict[str, Documents], key: str, modified: float | None = None) -> None:
    """Remember which documents of which attempts there are; other keys are none of the catalog's business."""
    parts = key.split("/")
    if not ids.is_id(parts[1]):
        return
    if parts[2:] == ["run.json"]:
        found.setdefault(parts[1], {})
    elif len(parts) == 4 and parts[2] == "marks" and ids.is_id(parts[3].removesuffix(".json")):
        found.setdefault(parts[1], {}).setdefault(_MARKS, {})[key] = modified
    elif len(parts) == 5 and parts[2] == "attempts" and ids.is_id(parts[3]):
        found.setdefault(parts[1], {}).setdefault(parts[3], {})[parts[4]] = modified


Get = Callable[[str], bytes]
OnDamage = Callable[[str, object], None]
"""Told the key of what is left out, and why."""


def build_view(
    store: Store,
    run: str,
    attempts: Documents,
    now: float,
    *,
    get: Get | None = None,
    located: Located | None = None,
    on_damage: OnDamage = left_out,
) -> RunView | None:
    """The view of a run that has these documents; ``get`` reads them, by default from the store."""
    get = get or store.get
    unread: list[str] = []

    def damaged(key: str, reason: object) -> None:
        unread.append(key)
        on_damage(key, reason)

    document = _document(get, keys.run_document(run), RunDocument, on_damage)
    if document is None:
        return None  # damaged (and warned of), or not yet arrived
    views = []
    marks = [_document(get, key, Mark, damaged) for key in sorted(attempts.get(_MARKS, ()))]
    for number, attempt in enumerate(sorted(attempts.keys() - {_MARKS}), 1):
        end = lease = None
        if "end.json" in attempts[attempt]:
            end = _document(get, keys.attempt_document(run, attempt, "end"), EndDocument, damaged)
        if end is not None and end.status == "finished" and "failure.json" in attempts[attempt]:
            failure = _document(get, keys.attempt_document(run, attempt, "failure"), RankFailure, damaged)
            end = end if failure is None else _failed(end, failure)
        if end is None and "lease.json" in attempts[attempt]:
            lease = _document(get, keys.attempt_document(run, attempt, "lease"), Lease, damaged)
        written = attempts[attempt].get("lease.json")
        views.append(AttemptView(run, attempt, number, store, now, end, lease, written))
    known = tuple(mark for mark in marks if mark is not None)
    return RunView(document, tuple(views), store, known, located, tuple(unread))


def _failed(end: EndDocument, failure: RankFailure) -> EndDocument:
    """The end of an attempt of which only the first rank has finished."""
    error = failure.error or f"exit code {failure.exit_code}"
    return msgspec.structs.replace(
        end,
        status="failed",
        exit_code=failure.exit_code,
        error=f"rank {failure.rank}: {error}",
        traceback=failure.traceback,
    )


def _document(get: Get, key: str, kind: type[Document], on_damage: OnDamage = left_out) -> Document | None:
    try:
        return decode(get(key), kind, key=key)
    except KeyNotFound:
        return None
    except DamagedDocument as exc:
        on_damage(key, exc)
        return None


def documents_of(listed: Iterable[tuple[str, float | None]]) -> dict[str, Documents]:
    """Of the keys of some runs, with their times, those of the documents that a view is built from, by run."""
    found: dict[str, Documents] = {}
    for key, modified in listed:
        _note(found, key, modified)
    return found


def find_run(store: Store, text: str) -> RunView:
    """The run with this id, unique beginning or end of an id, or ``latest``; else ``RunNotFound`` names near ones."""
    found = scan(store, [resolve_id(store, text)])
    if not found:
        raise RunNotFound(f"run {text!r} has no readable run.json in {store.url}; `hindsight verify` lists the damage")
    return found[0]


def resolve_id(store: Store, text: str, known: Collection[str] | None = None) -> str:
    """The full id that is meant; ``known`` spares the listing of the store's runs."""
    wanted = text.strip().lower()
    if known is None:
        known = [run for run in store.folders(keys.RUNS) if ids.is_id(run)]
    if not known:
        raise RunNotFound(f"no run {text!r}: {store.url} has no runs yet")
    if wanted == LATEST:
        return max(known)
    if wanted in known:
        return wanted
    matches = [run for run in known if wanted and (run.startswith(wanted) or run.endswith(wanted))]
    if len(matches) == 1:
        return matches[0]
    if matches:
        shown = ", ".join(sorted(matches)[:5])
        raise RunNotFound(f"{text!r} is not unique: {len(matches)} runs match, such as {shown}; add a few characters")
    near = difflib.get_close_matches(wanted, {ids.short(run) for run in known} | set(known), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; the latest is {ids.short(max(known))}"
    raise RunNotFound(f"no run {text!r} among {len(known)} in {store.url}{hint}")
