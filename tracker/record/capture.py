"""What is captured around a run: documents of its start, output, system samples, input files.

Each can be switched off by the setting ``capture``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tracker import __version__
from tracker.errors import Unavailable
from tracker.record.arguments import note_argument
from tracker.record.context import current_scope
from tracker.record.identity import PARENT_VARIABLE, SHARD_VARIABLE
from tracker.record.imports import SAMPLING, SEALING, STARTING, preload
from tracker.record.origin import Origin
from tracker.record.run import Run
from tracker.record.shipping import write_somewhere
from tracker.secrets import mask_text
from tracker.store import keys
from tracker.store.base import Store, address_of
from tracker.store.documents import CodeDocument, Entry, StartDocument, encode
from tracker.store.holds import relying
from tracker.store.recovery import mark_interrupted, recover

_PATIENCE_S = 60.0  # for the code snapshot and the like, when a run ends before they are done
_RECOVER_AGE_S = 14 * 86_400.0
_TICK_S = 1.0
_SNAPSHOT_TRIES = 3


def begin(run: Run, entry: Entry, origin: Origin) -> None:
    """Start what the settings ask for, off the caller's thread where it takes time; ends with the run.

    A run inside another one has the output, code and environment of its process captured there, and only notes its own
    entry.
    """
    channels = set(run.settings.capture)
    if origin.call is not None:
        for name, shown in origin.call.shown.items():
            _guarded(run, partial(note_argument, run.recorder, name, shown))
    _Start(run, entry, channels, origin).begin()
    if origin.parent is None:
        for part in (_capture_output, _watch_inputs, _sample_system):
            _guarded(run, partial(part, run, channels))


def _guarded(run: Run, part: Callable[[], None]) -> None:
    """Whatever fails in one part is told, and neither the other parts nor the user's program stop for it."""
    try:
        part()
    except Exception as exc:  # noqa: BLE001
        run.recorder.warn_once(f"something could not be captured: {type(exc).__name__}: {exc}")


class _Start:
    """Gathers the documents of a start on threads of its own, and ships what dead runs left behind.

    Both threads start here and start none themselves: a short script may end, and its interpreter refuse new threads,
    before they have even imported what they need.
    """

    def __init__(self, run: Run, entry: Entry, channels: set[str], origin: Origin) -> None:
        self.run, self.entry, self.channels, self.origin = run, entry, channels, origin
        parent = origin.parent
        self.parent = parent if parent is not None and address_of(parent.store) == address_of(run.store) else None
        own = {PARENT_VARIABLE, SHARD_VARIABLE}  # set for the processes that this run starts
        self.environ = {name: value for name, value in os.environ.items() if name not in own}
        self.threads = [
            threading.Thread(target=self._work, args=parts, name="hindsight-start", daemon=True)
            for parts in ((self._code,), (self._start, self._invocation, self._recover))
        ]
        self._deadline: float | None = None
        self._naming, self._is_named = threading.Lock(), False

    def begin(self) -> None:
        for thread in self.threads:
            thread.start()
        self.run.on_exit.append(self._wait)
        self.run.on_finish.append(self._wait)

    def _wait(self) -> None:
        """Wait until all is written; one deadline for the end of the main thread and the end of the run."""
        if self._deadline is None:
            self._deadline = time.monotonic() + _PATIENCE_S
        for thread in self.threads:
            thread.join(max(0.0, self._deadline - time.monotonic()))
        if self.threads[0].is_alive() and self.parent is None and "code" in self.channels:
            _guarded(self.run, self._name_at_last)
        if any(thread.is_alive() for thread in self.threads):
            self.run.recorder.warn_once(
                f"the code and environment of run {self.run.short} were not captured within {_PATIENCE_S:g} s"
            )

    def _work(self, *parts: Callable[[], None]) -> None:
        _guarded(self.run, partial(preload, STARTING))
        for part in parts:
            _guarded(self.run, part)

    def _code(self) -> None:
        document: CodeDocument | None = None
        if self.parent is not None:
            self.parent.code_taken.wait(_PATIENCE_S)
            document = self.parent.code
        elif "code" in self.channels:
            document = self._lasting_snapshot()
        if document is not None:
            self.run.code = document
        if document is not None and self.parent is not None:
            self._name(document, self.parent.spool if self.parent.is_away else self.run.store)
        self.run.code_taken.set()

    def _name_at_last(self) -> None:
        """The run ends and its code is not named yet: say what is known of it. The thread says more where it can."""
        told = (
            f"the run ended, and {_PATIENCE_S:g} s later the snapshot was not stored, or a sweep of the store went on"
        )
        with self._naming:
            if not self._is_named:
                self._is_named = True
                self.run.put_document("code", replace(self.run.code or CodeDocument(), problem=told))

    def _lasting_snapshot(self) -> CodeDocument:
        """Take the snapshot and name it in the store; again where a sweep took it before it was named."""
        for _ in range(_SNAPSHOT_TRIES):
            document, home, was_found = self._snapshot()
            wanted = []
            if document.snapshot and home is self.run.store:
                self.run.code = document
                wanted = [keys.code_document(document.snapshot)] if was_found else []
            try:
                with relying(home, wanted) as gone:
                    if not gone:
                        self._name(document, home)
                        return document
            except Unavailable:
                break  # nobody sweeps what cannot be reached
        self._name(document, home)
        return document

    def _name(self, document: CodeDocument, home: Store) -> None:
        """Write the document where the snapshot is: in the store it could name what only the spool has."""
        with self._naming:
            self._is_named = True
            if document.snapshot is None or home is self.run.store:
                self.run.put_document("code", document)
                return
            home.put(keys.attempt_document(self.run.id, self.run.attempt, "code"), encode(document))
            self.run.owe()

    def _snapshot(self) -> tuple[CodeDocument, Store, bool]:
        """The snapshot, where it is, and whether it was there before: what a run has just stored nobody sweeps."""
        from tracker.code.snapshot import SnapshotSettings, take_snapshot

        run, is_new = self.run, threading.Event()
        settings, home = SnapshotSettings(max_file_bytes=run.settings.snapshot_file_bytes), run.store
        try:
            document = take_snapshot(run.root, home, settings=settings, stored=is_new)
            if document.snapshot is None and run.spool is not home:  # the store is away: the code waits, too
                home = run.spool
                document = take_snapshot(run.root, home, settings=settings)
        except Exception as exc:  # noqa: BLE001  a run without its code is still a run; the document says why
            return CodeDocument(problem=f"no snapshot: {type(exc).__name__}: {exc}"), home, False
        return document, home, not is_new.is_set()

    def _start(self) -> None:
        from tracker.code.host import capture_host
        from tracker.code.packages import capture_packages

        run, own = self.run, self.parent is None
        document = StartDocument(
            run=run.id,
            attempt=run.attempt,
            started=run.started,
            entry=self.entry,
            pid=os.getpid(),
            writer=f"hindsight {__version__}",
            root=str(run.root),
            environment=self._environment() if "environment" in self.channels and own else {},
            packages=capture_packages() if "packages" in self.channels and own else None,
            host=capture_host() if "host" in self.channels and own else None,
            ordinal=run.ordinal,
            orchestrator=dict(self.origin.orchestrator),
        )
        run.put_document("start", document)

    def _invocation(self) -> None:
        call = self.origin.call
        if call is not None:
            write_somewhere(self.run, lambda home: call.write(home, self.run.id, self.run.attempt))

    def _environment(self) -> dict[str, str]:
        from tracker.code.environment import capture_environment

        return capture_environment(self.environ, allow=self.run.settings.environment_allow)

    def _recover(self) -> None:
        if self.parent is None and not self.run.is_away:
            if self.origin.is_restart:
                mark_interrupted(self.run.store, self.run.id, before=self.run.attempt)
            recover(self.run.store, self.run.spool, max_age_s=_RECOVER_AGE_S, prepare=partial(preload, SEALING))


def _capture_output(run: Run, channels: set[str]) -> None:
    if not channels & {"output", "logging"}:
        return
    from tracker.record.output import OutputCapture

    def emit(stream: str, level: str | None, text: str) -> None:
        scope = current_scope()
        recorder = scope[0]
        if recorder.shard is not None:
            recorder.output(stream, level, mask_text(text), scope)

    capture = OutputCapture(
        emit,
        stdout="output" in channels,
        stderr="output" in channels,
        logging="logging" in channels,
        max_total_bytes=run.settings.max_output_bytes,
    ).start()
    run.ticks.append(_every(_TICK_S, capture.tick))

    def stop() -> None:
        capture.stop()
        for reason, count in (capture.lost | capture.problems).items():
            run.recorder.dropped[reason] += count

    run.on_finish.append(stop)


def _every(seconds: float, action: Callable[[], None]) -> Callable[[], None]:
    """The action, at most once in so many seconds."""
    due = 0.0

    def act() -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + seconds
            action()

    return act


def _sample_system(run: Run, channels: set[str]) -> None:
    if "system" in channels:
        run.sampler = _make_sampler(run.root)


def _make_sampler(root: Path) -> Callable[[], dict[str, Any]]:
    """A sampler that is made with its first sample: psutil is not imported for runs that end before that."""
    made: list[Callable[[], dict[str, Any]]] = []

    def sample() -> dict[str, Any]:
        if not made:
            preload(SAMPLING)
            from tracker.record.system import SystemSampler

            made.append(SystemSampler(path=root).sample)
        return made[0]()

    return sample


def _watch_inputs(run: Run, channels: set[str]) -> None:
    if "inputs" not in channels:
        return
    from tracker.record.inputs import InputFiles

    own = [folder for folder in (run.store.local_path("runs"), run.spool.local_path("runs")) if folder is not None]
    exclude = {folder.parent for folder in own}
    watcher = InputFiles(run.root, exclude=exclude, hash_limit_bytes=run.settings.input_hash_bytes).start()
    run.collect_inputs = watcher.collect
    run.on_finish.append(watcher.stop)
