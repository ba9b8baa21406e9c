"""Starting and ending the run of the process, and runs inside it."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from tracker.code.project import capture_entry, function_entry, function_root, project_root, script_root
from tracker.config import load_settings
from tracker.errors import HindsightError, Unavailable
from tracker.record import capture
from tracker.record.arguments import unasked
from tracker.record.batch import in_batch_job
from tracker.record.context import PROCESS, current_scope, set_scope
from tracker.record.identity import (
    Identity,
    Membership,
    end_invitation,
    handed_options,
    invitation,
    invite_workers,
)
from tracker.record.origin import Origin, identify
from tracker.record.recorder import Recorder
from tracker.record.replaying import end_process, order, redirected
from tracker.record.run import Run, tell_losses
from tracker.record.shipping import away
from tracker.record.spool import spool_for
from tracker.record.stores import connect_offline, resolve_store
from tracker.store.base import Store
from tracker.store.documents import Status
from tracker.store.open import open_store

_lock = threading.RLock()
_process_run: Run | None = None
_open_runs: dict[Recorder, Run] = {}
_started = 0  # runs of this process so far
_hooked = False
_exiting = False
_interrupted = False
_given_up_at = float("-inf")
_GIVEN_UP_S = 60.0  # before a log tries again to start a run in a store that could not be used


def init(
    *,
    project: str | None = None,
    store: str | os.PathLike[str] | None = None,
    storage_options: dict[str, Any] | None = None,
    name: str | None = None,
    run_id: str | None = None,
    launch_key: str | None = None,
    tags: tuple[str, ...] | list[str] = (),
    **settings: Any,
) -> Run:
    """Start the run of this process, with settings of its own; ends the one that is open.

    Without it the first ``log``, ``arg`` or ``loop`` that records starts a run with the settings of environment and
    pyproject.toml. ``run_id`` names the run (also ``HINDSIGHT_RUN_ID``; a text that is no id of ours is taken as
    ``launch_key``); a second process that starts with the same ``launch_key`` becomes a further attempt of the same
    run. Further keywords are settings (``tracker.config.Settings``).

    ``BadSetting`` for a setting that cannot be used, ``StoreUnavailable`` or ``StoreReadOnly`` when the store cannot
    take a run.

    >>> import tracker
    >>> run = tracker.init(project="demo", store="memory://init", capture=())
    >>> run.project
    'demo'
    >>> tracker.finish()
    """
    global _process_run
    with _lock:
        if _process_run is not None:
            _end(_process_run)
        overrides = {"project": project, "store": store, "storage_options": storage_options, **settings}
        origin = Origin(name=name, run_id=run_id, launch_key=launch_key, tags=tuple(tags))
        _process_run = _start(PROCESS, overrides, origin)
        return _process_run


@contextmanager
def run(
    name: str | None = None,
    *,
    project: str | None = None,
    store: str | os.PathLike[str] | None = None,
    storage_options: dict[str, Any] | None = None,
    run_id: str | None = None,
    launch_key: str | None = None,
    tags: tuple[str, ...] | list[str] = (),
    **settings: Any,
) -> Iterator[Run]:
    """A run for the duration of a ``with`` block; inside another run it becomes a child of that one.

    Everything that the block logs, also in functions it calls and in tasks it starts, belongs to this run. An exception
    ends it as ``failed`` and goes on.
    """
    outer = current_scope()
    overrides = {"project": project, "store": store, "storage_options": storage_options, **settings}
    origin = Origin(name=name, run_id=run_id, launch_key=launch_key, tags=tuple(tags), parent=active_run())
    opened = _start(Recorder(), _inherited(overrides, origin.parent), origin)
    set_scope(opened.recorder.root)
    try:
        yield opened
    except BaseException as exc:
        opened.failure = (type(exc), exc, exc.__traceback__)
        raise
    finally:
        set_scope(outer)
        _end(opened)


def begin_run(origin: Origin, overrides: dict[str, Any]) -> Run:
    """Open a run that is not bound to the process: records go to it from the scope ``run.recorder.root``.

    While the store does not answer, records wait in the spool. Raises what ``init`` raises otherwise. To be ended with
    ``end_run``, in any thread.
    """
    overrides = _inherited(overrides, origin.parent)
    try:
        return _start(Recorder(), overrides, origin)
    except Unavailable as exc:
        opened = _start(Recorder(), overrides, replace(origin, offline=True))
        opened.recorder.warn_once(away(opened.store.url, exc), kind="store")
        return opened


def end_run(opened: Run, *, failure: BaseException | None = None, status: Status | None = None) -> None:
    """End a run; after an exception it has failed."""
    if failure is not None:
        opened.failure = (type(failure), failure, failure.__traceback__)
    _end(opened, status)


def _inherited(overrides: dict[str, Any], parent: Run | None) -> dict[str, Any]:
    """A run inside another one records where that does, unless it says otherwise."""
    given = {name: value for name, value in overrides.items() if value is not None}
    if parent is None or "store" in given:
        return given
    return {"store": parent.settings.store, "storage_options": parent.settings.storage_options, **given}


def active_run() -> Run | None:
    """The run that a ``log`` here would go to, or ``None``; never starts one."""
    recorder = current_scope()[0]
    return _open_runs.get(recorder) or (_process_run if recorder is PROCESS else None)


def finish(status: Status | None = None) -> None:
    """End the run that is open here; without one, nothing happens. The next ``log`` starts a new run."""
    opened = active_run()
    if opened is not None:
        _end(opened, status)


def commit() -> str | None:
    """Publish everything logged so far and return the id of the run; ``None`` when no run is open.

    Blocks until the store has it. The run goes on: in a notebook, call it at the end of a cell to make the cell's
    records and code visible to others.
    """
    opened = active_run()
    if opened is None:
        return None
    opened.commit()
    return opened.id


def _end(opened: Run, status: Status | None = None) -> None:
    global _process_run
    if opened is _process_run and not opened.is_child and opened.ended is None:
        problem = unasked(sys.argv, opened.recorder.arguments)
        if problem is not None:
            opened.recorder.warn_once(problem)
    opened.finish(status)
    with _lock:
        _open_runs.pop(opened.recorder, None)
        if opened is _process_run and not opened.is_child:
            _process_run = None
            end_invitation()
    replayed = order()
    if replayed is not None and opened.id == replayed.run and not (opened.is_child or opened.failure or _exiting):
        end_process()


def _start(recorder: Recorder, overrides: dict[str, Any], origin: Origin) -> Run:
    global _started
    ordinal, _started = _started, _started + 1
    function = origin.function
    root = origin.root or (function and function_root(function)) or script_root()
    overrides, replayed = redirected(overrides, ordinal)
    settings = load_settings(root, overrides=overrides)
    is_call = function is not None and origin.call is not None and origin.call.is_entry and function_root(function)
    called = function_entry(function, root=root) if function and is_call else None
    entry = origin.entry or called or capture_entry(sys.argv, root=root)
    store = connect_offline(settings) if origin.offline else resolve_store(settings, root, create=True)
    origin = in_batch_job(origin, store, spool_for(store, settings), is_process=recorder is PROCESS)
    identity = identify(origin, replayed, project=settings.project or root.name or "project", entry=entry, store=store)
    opened = Run(
        store, settings, identity, recorder, root=root, offline=origin.offline, ordinal=ordinal, began=origin.began
    )
    if origin.parent is not None and opened.launch is None:
        opened.launch = origin.parent.launch  # code in a run inside of a task's is still that task's
    _open_runs[recorder] = opened
    try:
        if recorder is PROCESS:
            invite_workers(opened.id, opened.attempt, settings, store.url)
        if not origin.rank:
            capture.begin(opened, entry, origin)
        _hook_process()
    except BaseException as exc:
        end_run(opened, failure=exc)  # else what comes later would take it for its own
        raise
    return opened


def _join(recorder: Recorder, member: Membership) -> Run:
    """Write a shard of the run that the process which started this worker has open."""
    root = script_root()
    given = {"store": member.store, "project": member.project or None, "storage_options": handed_options()}
    settings = load_settings(root, overrides=given)
    identity = Identity(project=member.project, script="", run=member.run)
    store = open_store(settings.store, storage_options=settings.storage_options, create=False)
    _open_runs[recorder] = opened = Run(store, settings, identity, recorder, root=root, member=member)
    _hook_process()
    return opened


def default_store(
    store: Store | str | os.PathLike[str] | None = None, storage_options: dict[str, Any] | None = None
) -> Store:
    """The store to read from: the one given, that of the open run, or that of the settings. Never writes."""
    if isinstance(store, Store):
        return store
    if store is not None:
        options = load_settings(project_root()).storage_options if storage_options is None else storage_options
        return open_store(store, storage_options=options, create=False)
    opened = active_run()
    if opened is not None:
        return opened.store
    root = project_root()
    return resolve_store(load_settings(root), root, create=False)


def _start_default(recorder: Recorder) -> None:
    """A record came and no run is open: start the run of the process."""
    global _process_run, _given_up_at
    with _lock:
        if _process_run is not None or _exiting or time.monotonic() < _given_up_at + _GIVEN_UP_S:
            return
        try:
            member = invitation()
            if member is None:
                init()
            else:
                _process_run = _join(recorder, member)
        except Unavailable as exc:
            # A log must not stop the program because a store is away: record into the spool, or not at all.
            try:
                _process_run = _start(PROCESS, {}, Origin(offline=True))
            except HindsightError:
                _given_up_at, recorder.is_idle_because = time.monotonic(), "no store"
                recorder.warn_once(f"nothing of this process is recorded: {exc}")
                _hook_process()  # what is lost is told at the end
            else:
                recorder.warn_once(away(_process_run.store.url, exc), kind="store")


def _hook_process() -> None:
    """Once per process: learn of uncaught exceptions and exit codes, and end what is open at exit. Everything is
    chained, nothing replaced.
    """
    global _hooked
    if _hooked:
        return
    _hooked = True
    previous_hook, previous_exit = sys.excepthook, sys.exit

    def note_exception(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        global _interrupted
        _interrupted = issubclass(kind, KeyboardInterrupt)
        if _process_run is not None:
            _process_run.failure = (kind, value, trace)
        previous_hook(kind, value, trace)

    def note_exit(status: Any = None, /) -> Any:
        if _process_run is not None:
            _process_run.exit_code = status if isinstance(status, int) else int(status is not None)
        return previous_exit(status)

    sys.excepthook, sys.exit = note_exception, note_exit
    atexit.register(_finish_all)
    with suppress(AttributeError, RuntimeError):  # private, and refused while the interpreter shuts down
        importlib.import_module("concurrent.futures.thread")  # registers its own end first, so that it comes after ours

        threading._register_atexit(_settle)  # type: ignore[attr-defined]


def _settle() -> None:
    """When the main thread has ended: let captures finish that need executors, and end runs with remote stores.

    ``concurrent.futures`` closes right after this, and the clients of remote stores need it; ``atexit`` comes too late
    for them. The end is left to ``atexit`` all the same when a thread of the user's is still at work.
    """
    for opened in list(_open_runs.values()):
        for wait in opened.on_exit:
            wait()
    executor_threads = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", {})
    own = {threading.main_thread(), threading.current_thread(), *executor_threads}
    if any(thread not in own and not thread.daemon for thread in threading.enumerate()):
        return
    for opened in list(_open_runs.values()):
        if opened.spool is not opened.store:
            _end(opened)


def _finish_all() -> None:
    global _exiting
    _exiting = True
    for opened in list(_open_runs.values()):
        _end(opened)
    if PROCESS.shard is None and PROCESS.dropped and _given_up_at > 0:
        tell_losses("this process", PROCESS.dropped)
    if _interrupted:
        # Code that is run at the end makes the interpreter forget that it was interrupted: it would exit with 1 then,
        # and not by SIGINT, which the shell that started it looks for. This reminds it.
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _after_fork_in_child() -> None:
    """Another thread may have held the lock at that moment; it does not exist here."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
PROCESS.on_idle = _start_default
