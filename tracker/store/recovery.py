"""Recovery: sealing what dead processes of this machine left behind, and closing their attempts."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tracker.errors import DamagedJournal, HindsightError, KeyNotFound, Unavailable
from tracker.store import durable, frames, keys
from tracker.store.base import Store
from tracker.store.changes import changing
from tracker.store.documents import EndDocument, Lease, decode, encode
from tracker.store.ids import created_ms
from tracker.store.journals import read_journal
from tracker.store.keys import JournalKey
from tracker.store.leases import derive_status
from tracker.store.processes import Writer, is_alive, is_here, is_visible
from tracker.store.sealing import Totals, remove_covered, run_level, seal
from tracker.store.shipping import ship_documents, shipping

_UNFINISHED_S = 3600.0  # nobody takes that long to make a journal


@dataclass
class Recovered:
    """What a recovery did: sealed journals, attempts it closed, records kept, bytes it had to give up, and problems by
    key.
    """

    journals: list[str] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    records: int = 0
    dropped_bytes: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    totals: dict[tuple[str, str], Totals] = field(default_factory=dict)  # by run and attempt


def recover(
    store: Store,
    source: Store,
    *,
    run: str | None = None,
    max_age_s: float | None = None,
    prepare: Callable[[], None] = lambda: None,
) -> Recovered:
    """Seal the journals of dead processes in ``source`` into ``store``, and write the ends of their attempts.

    ``source`` is the store itself when it is local, else the spool that waits for it. Only journals whose writer ran on
    this machine and is gone are touched; a lock per journal keeps two recoveries apart, and doing it again changes
    nothing. ``max_age_s`` looks at young runs only; ``prepare`` is called before a journal is sealed. A damaged journal
    is reported and stops no other, and a document that cannot be read stops no other run.
    """
    report = Recovered()
    with nullcontext() if source is store else shipping(store, source, report.problems):
        _recover_runs(store, source, report, run=run, max_age_s=max_age_s, prepare=prepare)
    return report


def _recover_runs(
    store: Store,
    source: Store,
    report: Recovered,
    *,
    run: str | None,
    max_age_s: float | None,
    prepare: Callable[[], None],
) -> None:
    for name in [run] if run else _runs(source, max_age_s):
        for info in list(source.list(keys.journal_folder(name))):
            path, key = source.local_path(info.key), JournalKey.parse(info.key)
            if path is None or key is None:
                continue
            try:
                totals = _recover_journal(store, path, key, report, prepare)
            except (HindsightError, OSError) as exc:
                report.problems[info.key] = str(exc)
                continue
            if totals is not None:
                report.totals.setdefault((key.run, key.attempt), Totals()).add(totals)
        _remove_unfinished(source, name)
        try:
            if source is not store:
                _ship_documents(store, source, name, report)
        finally:
            _close_attempts(store, source, name, report)


def _ship_documents(store: Store, source: Store, run: str, report: Recovered) -> None:
    """What cannot be read stops the documents of its own run alone; a store that is away stops all."""
    try:
        report.documents += ship_documents(store, source, run, report.problems)
    except Unavailable:
        raise
    except HindsightError as exc:
        report.problems[keys.run_folder(run)] = str(exc)


def _close_attempts(store: Store, source: Store, run: str, report: Recovered) -> None:
    """Write the ends of the attempts of which journals were sealed now: nobody else would."""
    for (name, attempt), totals in report.totals.items():
        if name == run:
            try:
                _close_attempt(store, source, name, attempt, totals, report)
            except (HindsightError, OSError) as exc:
                report.problems[f"{name}/{attempt}"] = str(exc)


def _runs(source: Store, max_age_s: float | None) -> list[str]:
    oldest_ms = 0.0 if max_age_s is None else (time.time() - max_age_s) * 1000
    found = []
    for name in source.folders(keys.RUNS):
        try:
            if created_ms(name) >= oldest_ms:
                found.append(name)
        except HindsightError:
            continue  # not a run's folder; `hindsight verify` names it
    return found


def _recover_journal(
    store: Store, path: Path, key: JournalKey, report: Recovered, prepare: Callable[[], None]
) -> Totals | None:
    """Seal one journal if its writer is gone; ``None`` when it was left alone."""
    with _locked(path) as lock:
        if lock is None:
            return None
        with path.open("rb") as file:
            header, _ = frames.decode_header(file.read(frames.HEADER_BYTES), key=path.name)
        if (header.run, header.shard, header.first) != (key.run, key.shard, key.first):
            raise DamagedJournal(
                f"{key} says that it is of run {header.run!r} and shard {header.shard!r}: it was copied or renamed by "
                "hand, and nothing was made of it"
            )
        if not _is_left_behind(header.writer, lock):
            return None
        prepare()
        journal = read_journal(path)
        with changing(store, journal.header.run):
            sealed = seal(store, journal)
            remove_covered(store, sealed)
            path.unlink(missing_ok=True)
        report.journals.append(path.name)
        report.records += sealed.totals.records - sealed.totals.lost_records
        report.dropped_bytes += journal.dropped_bytes + journal.holes * frames.SLOT_BYTES
        return sealed.totals


def _is_left_behind(writer: Writer, lock: bool) -> bool:
    """Whether the writer ran on this machine and is gone.

    A writer holds its journal's lock while it lives. From within a container that is all there is to know of one in
    another container; where the file system has no locks, such a journal is left alone.
    """
    if is_visible(writer):
        return not is_alive(writer)
    return is_here(writer) and lock


@contextmanager
def _locked(path: Path) -> Iterator[bool | None]:
    """Lock a journal: ``None`` when somebody holds it or it has gone, false when the file system has no locks."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # locks on NFS need a descriptor that may write
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock = True
    except BlockingIOError:
        os.close(descriptor)
        yield None
        return
    except OSError:
        lock = False
    try:
        yield lock if path.exists() else None
    finally:
        os.close(descriptor)


def _remove_unfinished(source: Store, run: str) -> None:
    """Delete what writers left that were killed while they made a journal; nothing was logged to it yet."""
    folder = source.local_path(keys.journal_folder(run).rstrip("/"))
    for path in folder.glob(f"{durable.TEMPORARY}*") if folder is not None else ():
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _UNFINISHED_S:
                path.unlink()


def _close_attempt(store: Store, source: Store, run: str, attempt: str, totals: Totals, report: Recovered) -> None:
    key = keys.attempt_document(run, attempt, "end")
    if any(_get(home, key) is not None for home in (store, source)) or _has_journals(source, run, attempt):
        return
    lease_key = keys.attempt_document(run, attempt, "lease")
    lease_data = _get(store, lease_key)
    lease = None if lease_data is None else decode(lease_data, Lease, key=lease_key)
    written = None if lease is None else store.info(lease_key).modified
    status = derive_status(None, lease, now=time.time(), written=written)
    if status == "running":  # another process of the attempt goes on
        return
    said = run_level(store, run, attempt)  # also what was sealed before the process died
    end = EndDocument(
        status=status,
        ended=max(lease.renewed if lease else 0.0, totals.last_ns / 1e9) or time.time(),
        records=totals.records,
        dropped={"damaged": totals.lost_records} if totals.lost_records else {},
        arguments=said.arguments,
        summary=said.summary,
        timings=totals.timing_documents(),
        recovered=True,
    )
    with changing(store, run):
        store.put(key, encode(end))
    report.attempts.append(attempt)


def mark_interrupted(store: Store, run: str, *, before: str) -> None:
    """Note that a batch system ended the attempt before this one, where that has not told its end itself."""
    earlier = [attempt for attempt in store.folders(keys.attempts_folder(run)) if attempt < before]
    if not earlier or _get(store, keys.attempt_document(run, max(earlier), "end")) is not None:
        return
    key = keys.attempt_document(run, max(earlier), "lease")
    data = _get(store, key)
    if data is not None:
        store.put(key, encode(msgspec.structs.replace(decode(data, Lease, key=key), interrupted=True)))


def _get(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except KeyNotFound:
        return None


def _has_journals(source: Store, run: str, attempt: str) -> bool:
    parsed = (JournalKey.parse(info.key) for info in source.list(keys.journal_folder(run)))
    return any(key is not None and key.attempt == attempt for key in parsed)
