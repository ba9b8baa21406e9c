"""A run while it is open: its documents, its lease, its journals, and how it ends."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from tracker.config import Settings
from tracker.errors import HindsightError, Unavailable
from tracker.record.background import BACKGROUND
from tracker.record.context import set_scope
from tracker.record.failures import ErrorInfo, leave_failure, told_failure
from tracker.record.heartbeat import Heartbeat
from tracker.record.identity import Identity, Membership, claim_attempt, claim_document, claim_id, membership
from tracker.record.log import log
from tracker.record.recorder import CLOSED, Recorder
from tracker.record.scope import Frame
from tracker.record.shard import Shard
from tracker.record.shipping import Shipper, away
from tracker.record.spool import spool_for
from tracker.store import ids, keys
from tracker.store.base import Store, address_of, has
from tracker.store.changes import changing, note_change
from tracker.store.documents import (
    CodeDocument,
    EndDocument,
    InputFile,
    RunDocument,
    Status,
    decode,
    encode,
)
from tracker.store.recovery import recover
from tracker.store.shipping import ship_documents, shipping

_ANOTHER_PROCESS = 0
_PAYMENT_PAUSE_S = 60.0  # before payloads that could not be shipped are tried again
Sampler = Callable[[], dict[str, Any]]


class Run:
    """One attempt at a run, open for recording until ``finish``.

    Made by ``tracker.init``, ``tracker.run`` or the first ``log``. A killed process leaves a run whose records are all
    readable and whose status becomes ``killed``; after a fork the child records into a shard of the same run and cannot
    end it.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        identity: Identity,
        recorder: Recorder,
        *,
        root: Path,
        offline: bool = False,
        ordinal: int = 0,
        began: float | None = None,
        member: Membership | None = None,
    ):
        self.ordinal = ordinal  # how many runs this process had started before
        self.store, self.settings, self.root = store, settings, root
        self.recorder = recorder
        self.spool = spool_for(store, settings)
        self.started = time.time() if began is None else began
        self._owed, self._owing = int(offline), threading.Lock()
        home = self.spool if offline else store
        document = None
        self._rank = identity.rank, os.getpid()
        if member is None and identity.rank:
            member, document = membership(home, identity, self.spool)
        if member is None:
            self.id, self._pid = claim_id(home, identity, self.spool), os.getpid()
            self.attempt = claim_attempt(home, identity, self.id, self.spool, began)
            lease = keys.attempt_document(self.id, self.attempt, "lease")
            self._heartbeat = Heartbeat(store, lease, settings.heartbeat_s, self._tell_away)
            with self._noted(home, identity):
                self._heartbeat.beat()  # before the run is seen, so that nobody takes it for a dead one
                self.document = claim_document(home, identity, self.id, self.started)
        else:
            self.id, self.attempt, self._pid = member.run, member.attempt, _ANOTHER_PROCESS
            key = keys.run_document(self.id)
            self.document = document or decode(store.get(key), RunDocument, key=key)
        self.has_ranks = identity.attempt_key is not None  # other processes of the same job write shards of the attempt
        self.launch = self.document.launch_key  # of the task whose code runs in it
        self.awaits_call = False  # opened for a task from outside, whose function has not been called yet
        self.resumes = False  # goes on from its last checkpoint when it is started again
        self.ended: Status | None = None
        self.failure: ErrorInfo | None = None
        self.exit_code: int | None = None
        self.shipper = self._shipper(is_owner=member is None, live=self.spool is store)
        self.sampler: Sampler | None = None
        self.code: CodeDocument | None = None  # once the snapshot is taken
        self.code_taken = threading.Event()
        self.ticks: list[Callable[[], None]] = []  # called by the background thread
        self.collect_inputs: Callable[[], tuple[InputFile, ...]] = tuple
        self.on_exit: list[Callable[[], None]] = []  # called when the main thread ends, while threads can still work
        self.on_finish: list[Callable[[], None]] = []  # capture that stops, background work that ends; last added first
        self._lock = threading.RLock()
        now = time.monotonic()
        self._due = {
            "flush": now + settings.flush_interval_s,
            "system": now + settings.system_interval_s,
            "checksums": now + settings.fsync_interval_s,
            "payment": now,
        }
        self._samples = 0
        self._attach()

    def _noted(self, home: Store, identity: Identity) -> AbstractContextManager[None]:
        """Note the change that a further attempt is to a run that had ended, or that a run is whose id is older.

        Readers look for new runs behind the horizon of the index; also an id that a job was given days ago, and one
        whose run was removed here, has to be noted.
        """
        named = identity.run is not None or identity.launch_key is not None
        is_older = ids.created_ms(self.id) < int(self.started * 1000)
        if named and home is self.store and (is_older or has(home, keys.run_document(self.id))):
            return changing(home, self.id)
        return nullcontext()

    def __repr__(self) -> str:
        return f"<Run {self.short} of {self.project} in {self.store.url}: {self.ended or 'running'}>"

    @property
    def short(self) -> str:
        """The last eight characters of the id: what commands take."""
        return ids.short(self.id)

    @property
    def project(self) -> str:
        """The name that groups runs."""
        return self.document.project

    @property
    def name(self) -> str | None:
        """The name given to the run, if any."""
        return self.document.name

    def _attach(self) -> None:
        folder = self.spool.local_path(keys.journal_folder(self.id).rstrip("/"))
        assert folder is not None, "a spool is a folder of this machine"
        self.recorder.wake, self.recorder.on_fork = BACKGROUND.wake, self._forked
        shard = Shard(self.id, self.attempt, folder, self.settings, self.attempt, self.root)
        self.recorder.attach(shard.fork() if self.is_child else shard)
        BACKGROUND.add(self, self._lane)
        if not self.is_child:  # of a remote store beside the rest: a flush may take longer than a lease lasts
            BACKGROUND.add(self._heartbeat, self._lane if self.shipper.live else f"leases of {self._lane}")

    @property
    def _lane(self) -> str:
        """A store that is slow or away holds up the runs that record into it, and no others."""
        return address_of(self.store)

    def _forked(self, recorder: Recorder) -> None:
        """In a forked child with its first record: seal for itself, and leave the run's documents to the parent."""
        self.shipper = self._shipper(is_owner=False, live=self.shipper.live)
        self._lock = threading.RLock()
        BACKGROUND.add(self, self._lane)

    def _shipper(self, *, is_owner: bool, live: bool) -> Shipper:
        """What publishes the records of this process; the attempt of another may have its end before that."""
        if is_owner:
            return Shipper(self.store, self.recorder, live=live)
        if live:
            with suppress(HindsightError):  # the journal that comes now is a change that readers look for
                note_change(self.store, self.id)
        return Shipper(self.store, self.recorder, live=live, noted=partial(changing, self.store, self.id))

    @property
    def is_child(self) -> bool:
        """Whether this is a forked or spawned child of the process that started the run."""
        return os.getpid() != self._pid

    def upkeep(self) -> None:
        """Seal, flush, sample: whatever is due. Runs in the background thread; problems are told once and never
        raised.
        """
        try:
            with self._lock:
                if self.ended is None:
                    self._tend()
        except Exception as exc:  # noqa: BLE001  the background thread must live on, whatever one task met
            self.recorder.warn_once(f"background work failed: {type(exc).__name__}: {exc}")

    def _tend(self) -> None:
        self.recorder.prepare()
        self.shipper.seal_full(between=self.recorder.prepare)
        if not self.shipper.live and self._is_due("flush", self.settings.flush_interval_s):
            self._flush()
        if self._is_due("checksums", self.settings.fsync_interval_s):
            self._secure_pages()
        if self.is_child:
            return
        for tick in self.ticks:
            tick()
        if self.sampler and self._is_due("system", self.settings.system_interval_s):
            self._sample(self.sampler)

    @property
    def is_away(self) -> bool:
        """Whether documents wait in the spool because the store did not answer."""
        return self._owed > 0

    def _flush(self) -> None:
        if self.shipper.flush() and self.is_away and time.monotonic() >= self._due["payment"]:
            self._pay_documents()

    def _is_due(self, task: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due[task]:
            return False
        self._due[task] = now + every_s
        return True

    def _secure_pages(self) -> None:
        journal = self.recorder.journal
        if journal is CLOSED:
            return
        if self.settings.fsync == "interval":
            journal.sync()
        journal.write_checksums()

    def _tell_away(self, exc: Exception) -> None:
        self.recorder.warn_once(away(self.store.url, exc), kind="store")

    def note_interruption(self) -> None:
        """A batch system is about to end this process: without an end of its own, the attempt was preempted."""
        self._heartbeat.interrupt()

    def _sample(self, sampler: Sampler) -> None:
        """Log one sample of the machine as an iteration of the loop ``@system``. Only ever called in the background
        thread, whose scope it sets.
        """
        frame = Frame(self.recorder.root, "loop", keys.SYSTEM_LOOP)
        set_scope(self.recorder.begin(frame, self._samples, None))
        self._samples += 1
        for name, value in sampler().items():
            log(name, value)

    def _pay_documents(self) -> None:
        """Put what waits in the spool since the store did not answer."""
        owed, failed, is_over = self._owed, dict[str, str](), False
        try:
            with shipping(self.store, self.spool, failed):
                ship_documents(self.store, self.spool, self.id, failed)
            is_over = not failed
        finally:
            if not is_over:
                self._due["payment"] = time.monotonic() + _PAYMENT_PAUSE_S
        if failed:  # what names these waits, and so does what comes: it may name them, too
            self._tell_payloads(failed)
            return
        with self._owing:
            self._owed -= owed  # what came to the spool meanwhile is still owed

    def _tell_payloads(self, problems: dict[str, str]) -> None:
        for key, reason in problems.items():
            if key.startswith((keys.OBJECTS, keys.CODE)):
                self.recorder.warn_once(f"{key} cannot be shipped to {self.store.url}: {reason}", kind="payloads")

    def owe(self) -> None:
        """Something that the store did not take waits in the spool: it is shipped with the next records."""
        with self._owing:
            self._owed += 1

    def put_document(self, name: str, document: msgspec.Struct) -> None:
        """Write a document of this attempt; while the store does not answer it waits in the spool."""
        key, data = keys.attempt_document(self.id, self.attempt, name), encode(document)
        try:
            # At the end each further try of a store that is away would take its time.
            if self.spool is self.store or not (self.shipper.is_away and self.ended):
                self.store.put(key, data)
                return
        except Unavailable as exc:
            if self.spool is self.store:
                self.recorder.warn_once(f"{name}.json of run {self.short} cannot be written: {exc}")
                return
            self.recorder.warn_once(away(self.store.url, exc), kind="store")
        self.spool.put(key, data)
        self.owe()

    def commit(self) -> bool:
        """Publish everything logged so far; whether all of it is in the store. Blocks until that is done or has
        failed.
        """
        return self.shipper.flush()

    def finish(self, status: Status | None = None) -> None:
        """End the run: stop what is captured, seal what was logged, write the end. Doing it again does nothing.

        The status is ``failed`` after an uncaught exception or a non-zero exit code, ``killed`` after a keyboard
        interrupt, else ``finished``. What cannot reach the store now stays in journals and is shipped by a later run or
        ``hindsight recover``.
        """
        if self.is_child:
            self._finish_child(status or self._derive_status())
            return
        BACKGROUND.remove(self)  # before the lock, which its upkeep would take again and again beside a busy writer
        BACKGROUND.remove(self._heartbeat)
        with self._lock:
            if self.ended is not None:
                return
            for stop in reversed(self.on_finish):
                self._quietly(stop)
            self.ended = status or self._derive_status()
            dropped, arguments = self.recorder.dropped, dict(self.recorder.arguments)
            sealed = self.shipper.finish(self.recorder.detach())
            if not self.shipper.is_away:
                self._quietly(self._adopt_children)
            counts = {reason: count for reason, count in dropped.items() if count}
            self._quietly(lambda: self._write_end(arguments, counts))
            if sealed:
                self._quietly(self._remove_leftovers)
            tell_losses(f"run {self.short}", dropped)
            self.recorder.forget_warnings()

    def _finish_child(self, status: Status) -> None:
        shard = self.recorder.shard
        if shard is not None and shard.writer.pid == os.getpid():
            BACKGROUND.remove(self)
            self.shipper.finish(self.recorder.detach())
            self.recorder.attach(shard)  # it is not the child's to end: what it logs from now on opens a further shard
        rank, pid = self._rank
        if status == "failed" and rank and pid == os.getpid():
            self._quietly(partial(leave_failure, self, rank))

    def _quietly(self, action: Callable[[], Any]) -> None:
        """Run one part of the end; its failure must not keep the others from running."""
        try:
            action()
        except Unavailable as exc:
            self.shipper.is_away = True
            self.recorder.warn_once(away(self.store.url, exc), kind="store")
        except Exception as exc:  # noqa: BLE001  told, and the rest of the end goes on
            self.recorder.warn_once(f"at the end of run {self.short}: {type(exc).__name__}: {exc}")

    def _derive_status(self) -> Status:
        if self.failure is not None:
            return "killed" if issubclass(self.failure[0], KeyboardInterrupt) else "failed"
        return "failed" if self.exit_code else "finished"

    def _adopt_children(self) -> None:
        """Seal what forked or spawned workers left that are gone already."""
        recovered = recover(self.store, self.spool, run=self.id)
        self._tell_payloads(recovered.problems)
        for (_, attempt), totals in recovered.totals.items():
            if attempt == self.attempt:
                self.shipper.totals.add(totals)

    def _write_end(self, arguments: dict[str, Any], dropped: dict[str, int]) -> None:
        totals = self.shipper.totals
        if totals.lost_records:
            dropped["damaged"] = totals.lost_records
        error, text = told_failure(self.failure)
        end = EndDocument(
            status=self.ended or "finished",
            ended=time.time(),
            exit_code=self.exit_code,
            error=error,
            traceback=text,
            records=totals.records - totals.lost_records,
            dropped=dropped,
            arguments=totals.arguments or arguments,
            summary=totals.summary,
            timings=totals.timing_documents(),
            inputs=self.collect_inputs(),
        )
        self.put_document("end", end)

    def _remove_leftovers(self) -> None:
        self._heartbeat.end()
        folder = self.spool.local_path(keys.journal_folder(self.id).rstrip("/"))
        if folder is not None and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def tell_losses(what: str, dropped: dict[str, int]) -> None:
    """Say on stderr what was not recorded, if anything."""
    told = ", ".join(f"{count} ({reason})" for reason, count in dropped.items() if count)
    if told and sys.stderr is not None:
        print(f"Hindsight: {what} lost records: {told}", file=sys.stderr)
