"""The slow and careful side of recording: opening and changing journals, names, odd values, and what happens when the
disk is full.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

from tracker.config import Settings
from tracker.errors import HindsightError, InputError, StoreFull
from tracker.record.journal import Journal
from tracker.record.scope import (
    Definition,
    Frame,
    Scope,
    check_collisions,
    need_of,
    output_definition,
    put_context,
)
from tracker.record.shard import Shard, describe_failure
from tracker.record.values import check_labels, check_name, encode
from tracker.store import frames
from tracker.store.frames import ANYTHING, Need

_RETRY_S = 1.0
_MAX_COUNTS = 100  # places in which iterations count by themselves; the least recent one is forgotten
CLOSED = Journal.closed()


class Recorder:
    """Where scopes send their records: at a shard while a run is open, else nowhere.

    Thread-safe. After a fork the child gets a shard of its own with its first record. ``on_idle`` is called when
    something is recorded while no run is open; it may attach a shard.
    """

    def __init__(self, on_idle: Callable[[Recorder], None] | None = None) -> None:
        self.journal = CLOSED
        self.shard: Shard | None = None
        self.full: list[Journal] = []  # journals that wait to be sealed, oldest first
        self.spare: Journal | None = None  # made ahead of its use by the background thread
        self.dropped: Counter[str] = Counter()
        self.arguments: dict[str, Any] = {}
        self.wake: Callable[[], None] = lambda: None
        self.on_idle = on_idle
        self.is_idle_because: str | None = None  # why no run could be started
        self.on_fork: Callable[[Recorder], None] = lambda recorder: None
        self._lock = threading.RLock()
        self._counts: dict[tuple[int, str], tuple[Scope, int]] = {}
        self._retry_at = 0.0
        self._warned: set[str] = set()
        self.root: Scope = (self, None, 0, None, 0, None)
        _recorders.add(self)

    def attach(self, shard: Shard) -> None:
        """Send records to this shard from now on."""
        with self._lock:
            self.shard, self.journal, self.full, self.arguments = shard, CLOSED, [], {}
            self.dropped, self._retry_at, self.is_idle_because = Counter(), 0.0, None

    def detach(self) -> list[Journal]:
        """Take no more records; returns the journals that are not sealed yet."""
        with self._lock:
            left = [*self.full, *([self.journal] if self.journal is not CLOSED else [])]
            self.shard, self.journal, self.full = None, CLOSED, []
            for journal in left:
                journal.retire()
            if self.spare is not None:
                self.spare.remove()
                self.spare = None
            return left

    def ready(self) -> Journal | None:
        """The open journal, opened if need be; ``None`` when records must be dropped at the moment."""
        journal = self.journal
        if journal is not CLOSED:
            return journal
        if self.shard is None and self.on_idle is not None:
            self.on_idle(self)
        return self.roll(CLOSED)

    def roll(self, old: Journal, need: Need = ANYTHING) -> Journal | None:
        """Replace a full journal; ``None`` when the policy says to drop. Only one of several threads does it."""
        with self._lock:
            if self.journal is not old and self.journal is not CLOSED:
                return self.journal
            if self.shard is None:
                return None
            if self.shard.writer.pid != os.getpid():
                self.shard = self.shard.fork()
                self.on_fork(self)
            if old is not CLOSED and self.journal is old:
                self.journal = CLOSED  # before any call, in which a signal handler that logs might come in here again
                old.retire()
                self.full.append(old)
            journal = self._open(need)
            if self.journal is not CLOSED and self.journal is not journal:
                # A destructor or signal handler logged in the middle of this and opened a journal of its own.
                if journal is not None:
                    journal.remove()
                return self.journal
            if journal is not None:
                self.journal = journal
            self.wake()
            return journal

    def _open(self, need: Need) -> Journal | None:
        assert self.shard is not None
        settings = self.shard.settings
        while True:
            if time.monotonic() >= self._retry_at:
                problem = self._over_limit(settings)
                if problem is None:
                    try:
                        return self._take_spare(need) or self.shard.new_journal(need)
                    except OSError as exc:
                        problem = describe_failure(exc, self.shard.folder)
                self._retry_at = time.monotonic() + _RETRY_S
                self.warn_once(problem)
                if settings.on_full == "raise":
                    self._retry_at = 0.0
                    raise StoreFull(problem)
            if settings.on_full != "wait":
                return None
            self.wake()
            self._lock.release()  # let the background thread seal meanwhile
            try:
                time.sleep(0.05)
            finally:
                self._lock.acquire()

    def _take_spare(self, need: Need) -> Journal | None:
        spare, self.spare = self.spare, None
        if spare is not None and (spare.layout.heap_bytes < need.heap_bytes or spare.layout.slots < need.slots):
            spare.remove()  # not kept for later: its frames would be numbered before those of the journal made now
            return None
        return spare

    def prepare(self) -> None:
        """Make the next journal ahead of its use, once a run has filled one; called by the background thread."""
        with self._lock:
            shard = self.shard
            if shard is None or self.spare is not None or shard.journals_made < 2 or self._over_limit(shard.settings):
                return
            try:
                spare = shard.new_journal()
            except OSError:
                return  # the thread that needs it will find out, and say so
        with self._lock:
            is_next = spare.first + spare.layout.slots == shard.next_first
            if self.shard is shard and self.spare is None and is_next:
                self.spare = spare
                return
        spare.remove()

    def _over_limit(self, settings: Settings) -> str | None:
        waiting = sum(journal.layout.file_bytes for journal in self.full)
        if waiting < settings.journal_limit_bytes:
            return None
        return (
            f"{waiting} bytes of journals wait to be sealed, the limit is {settings.journal_limit_bytes} "
            "(setting journal_limit_bytes): "
            "the store is too slow or does not answer"
        )

    def warn_once(self, problem: str, *, kind: str | None = None) -> None:
        """Say a problem once per run; what it costs is counted and shown at the end.

        Of problems of one ``kind`` only the first is said: when a store is away, everything fails for the same reason.
        Never raises: where warnings are errors it is printed, because it is no fault of the code that happened to log.
        """
        if (kind or problem) in self._warned:
            return
        self._warned.add(kind or problem)
        try:
            # Where this is noticed, often a thread of ours, would only distract from what it says.
            warnings.warn_explicit(f"Hindsight: {problem}", RuntimeWarning, "hindsight", 0, registry={})
        except RuntimeWarning as warning:
            if sys.stderr is not None:
                print(warning, file=sys.stderr)

    def forget_warnings(self) -> None:
        """A run has ended: what went wrong in it may be said again in the next."""
        self._warned.clear()

    def drop(self, reason: str) -> None:
        """Count a record that is not kept."""
        with self._lock:
            self.dropped[reason] += 1

    def number_in(self, journal: Journal, scope: Scope) -> int:
        """The number of a scope's context in a journal, written again where it began in an earlier one; -1 when the
        journal is full.
        """
        _, bound, number, frame, index, value = scope
        if frame is None:
            journal.contexts[id(scope)] = (0, scope)
            return 0
        if bound is journal:
            return number
        known = journal.contexts.get(id(scope))
        if known is not None:
            return known[0]
        parent = self.number_in(journal, frame.parent)
        if parent < 0:
            return -1
        number = put_context(journal, frame, parent, index, value, 0 if bound is None else bound.time_at(number))
        if number > 0:
            journal.contexts[id(scope)] = (number, scope)
        return number

    def begin(self, frame: Frame, index: int, value: Any) -> Scope:
        """The scope of a new iteration or step, the careful way: journals may have to be opened or changed."""
        journal = self.ready()
        while journal is not None:
            parent = self.number_in(journal, frame.parent)
            number = -1 if parent < 0 else put_context(journal, frame, parent, index, value)
            if number > 0:
                return (self, journal, number, frame, index, value)
            journal = self.roll(journal, need_of((self, None, 0, frame, index, value)))
        return (self, None, 0, frame, index, value)

    def count_iteration(self, scope: Scope, name: str) -> int:
        """The next index of an ``iteration`` that has none of its own, counted per place and name."""
        with self._lock:
            kept, index = self._counts.pop((id(scope), name), (scope, -1))
            self._counts[id(scope), name] = (kept, index + 1)  # keeps the scope, so that its id stays its own
            if len(self._counts) > _MAX_COUNTS:
                del self._counts[next(iter(self._counts))]
            return index + 1

    def end_loop(self, frame: Frame, count: int) -> None:
        """Note that a loop ran to its end; a loop that is left early has no such frame."""
        journal = self.journal
        if journal is CLOSED:
            return
        parent = self.number_in(journal, frame.parent)
        name = journal.define(frame)
        if parent >= 0 and name > 0:
            journal.put(frames.LOOP_END, count, parent, name)

    def record(self, scope: Scope, name: Any, value: Any, labels: dict[str, Any], role: str = "metric") -> bool:
        """Record a value of any kind; bad input raises ``InputError`` and costs nothing else.

        Where ``on_error`` says to warn instead, the answer is false.
        """
        try:
            self._record(scope, name, value, labels, role)
        except InputError as exc:
            self.refuse(exc)
            return False
        return True

    def refuse(self, problem: InputError) -> None:
        """Raise, or warn and count, as ``on_error`` says."""
        if self.shard is None and self.on_idle is not None:
            self.on_idle(self)  # the settings of the run decide, so it starts here
        if self.shard is None or self.shard.settings.on_error == "raise":
            raise problem
        self.drop("refused")
        warnings.warn(f"Hindsight: {problem}", RuntimeWarning, stacklevel=4)

    def _record(self, scope: Scope, name: Any, value: Any, labels: dict[str, Any], role: str) -> None:
        name = check_name(name, "the name of a metric" if role == "metric" else "the name of an argument")
        plain_labels = check_labels(labels) if labels else {}
        check_collisions(scope, name, plain_labels)
        journal = self.ready()  # before the value is encoded: the run's settings bound it
        limit = self.shard.settings.max_text_bytes if self.shard else 1 << 20
        kind, data = encode(name, value, max_bytes=limit)
        definition = Definition(role, name, plain_labels)
        while journal is not None:
            position = self._commit(journal, scope, definition, kind, data)
            if position >= 0:
                self._remember(journal, definition, (name, *labels.items()) if labels else name)
                return
            payload = len(definition.encoded) + (len(data) if isinstance(data, bytes) else 0)
            journal = self.roll(journal, need_of(scope, payload))
        self._give_up()

    def _give_up(self) -> None:
        if self.shard is None and self.on_idle is None:
            self.warn_once("a run has ended, what is logged into it now is not recorded")
        self.drop("no room" if self.shard is not None else "no run is open")

    def _commit(self, journal: Journal, scope: Scope, definition: Definition, kind: int, data: Any) -> int:
        context = self.number_in(journal, scope)
        number = -1 if context < 0 else journal.define(definition)
        if number < 0:
            return -1
        if isinstance(data, bytes):
            return journal.put_payload(kind, data, context, number)
        if kind == frames.FLOAT:
            return journal.put_float(kind, data, context, number)
        return journal.put(kind, data, context, number)

    def _remember(self, journal: Journal, definition: Definition, fast_key: Any) -> None:
        """Let the next value of this metric take the fast way, unless every record must reach the disk first."""
        if self.shard is not None and self.shard.settings.fsync == "each":
            journal.sync()
        elif definition.role == "metric":
            number = journal.names[definition.key]
            journal.floats[fast_key] = frames.FLOAT << frames.KIND_SHIFT | number
            journal.ints[fast_key] = frames.INT << frames.KIND_SHIFT | number

    def output(self, stream: str, level: str | None, text: str, scope: Scope) -> None:
        """Record a captured line of output in the context in which it was written. Never raises."""
        payload = text.encode("utf-8", "surrogatepass")
        definition = output_definition(stream, level)
        try:
            journal = self.ready()
            while journal is not None:
                if self._commit(journal, scope, definition, frames.OUTPUT, payload) >= 0:
                    return
                journal = self.roll(journal, need_of(scope, len(payload) + len(definition.encoded)))
        except (OSError, HindsightError) as exc:
            self.warn_once(f"output cannot be recorded: {exc}")
        self.drop("output")


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """The parent's journal must not be written by the child: the next record opens a shard of its own."""
    for recorder in list(_recorders):
        recorder._lock = threading.RLock()
        for journal in (recorder.journal, *recorder.full, recorder.spare):
            if journal is not None:
                journal.release()
        recorder.journal = CLOSED
        recorder.full, recorder.spare = [], None
        recorder.dropped = Counter()


os.register_at_fork(after_in_child=_after_fork_in_child)
