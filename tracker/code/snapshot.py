"""The snapshot of a run's code: taken in the background when the run starts, in the store before it ends."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from tracker.code.files import capture_files, ship_files
from tracker.code.ignore import escape
from tracker.code.repository import Repository, owning_repository
from tracker.code.selection import SnapshotSettings, shorten, show_path, with_exclusion
from tracker.code.shipping import latest_ref, ship
from tracker.code.worktree import Captured, capture_work_tree
from tracker.errors import CodeError, HindsightError
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import CodeDocument

__all__ = ["PendingSnapshot", "SnapshotSettings", "start_snapshot", "take_snapshot"]

_DEFAULT = SnapshotSettings()


@dataclass
class PendingSnapshot:
    """A snapshot that is being taken; ``captured`` is set once the files have been read and may be edited again."""

    captured: threading.Event = field(default_factory=threading.Event)
    _future: Future[CodeDocument] = field(default_factory=Future)
    _process: int = field(default_factory=os.getpid)

    def result(self, *, timeout_s: float | None = None) -> CodeDocument:
        """The document, waiting for it; what went wrong stands in its ``problem``, nothing is raised."""
        if self._process != os.getpid():
            return CodeDocument(problem="the snapshot belongs to the process that this one was forked from")
        try:
            return self._future.result(timeout_s)
        except FutureTimeout:
            return CodeDocument(problem=f"the snapshot was not ready after {timeout_s:g} s")


def start_snapshot(root: Path, store: Store, *, settings: SnapshotSettings = _DEFAULT) -> PendingSnapshot:
    """Begin to take a snapshot of the project's code on a thread of its own, and return at once."""
    pending = PendingSnapshot()

    def work() -> None:
        try:
            document = take_snapshot(root, store, settings=settings, captured=pending.captured)
        # The thread's last frame: whatever it is, it must reach the run's document and not the user's terminal.
        except Exception as exc:  # noqa: BLE001
            document = CodeDocument(problem=f"no snapshot: {type(exc).__name__}: {exc}")
        pending.captured.set()
        pending._future.set_result(document)

    threading.Thread(target=work, name="hindsight-code", daemon=True).start()
    return pending


def take_snapshot(
    root: Path,
    store: Store,
    *,
    settings: SnapshotSettings = _DEFAULT,
    captured: threading.Event | None = None,
    stored: threading.Event | None = None,
) -> CodeDocument:
    """Capture the code of a project as it is now and put it into the store.

    In a repository: a commit below ``refs/hindsight/`` and a bundle in the store; HEAD, branches, index, configuration,
    hooks and reflogs are not touched. Elsewhere, or where git fails, the project's files as objects of the store.
    A store that cannot be written is told in ``problem``; the commit is then only in the user's repository.
    ``captured`` is set once the files have been read, ``stored`` when the store did not have the snapshot before.
    """
    root = root.resolve()
    events = _Events(captured or threading.Event(), stored or threading.Event())
    settings = _without_store(settings, root, store)
    repository = owning_repository(root)
    if repository is None:
        return _take_files(root, store, settings, events)
    try:
        return _take_commit(repository, root, store, settings, events)
    except (CodeError, OSError) as exc:
        document = _take_files(root, store, settings, events)
        reasons = [f"git failed, so the files were copied: {exc}", document.problem or ""]
        return replace(document, problem="; ".join(filter(None, reasons)))


@dataclass(frozen=True)
class _Events:
    """What a caller is told of on the way."""

    captured: threading.Event
    stored: threading.Event


def _take_commit(
    repository: Repository, root: Path, store: Store, settings: SnapshotSettings, events: _Events
) -> CodeDocument:
    with ExitStack() as stack:
        work_tree = capture_work_tree(repository, settings, project=root, stack=stack, latest=latest_ref(store))
        events.captured.set()
        document = CodeDocument(
            snapshot=work_tree.commit,
            commit=work_tree.commit,
            head=work_tree.head,
            branch=repository.branch,
            dirty=work_tree.dirty,
            remote=repository.remote,
            left_out=shorten(work_tree.left_out),
            subfolder=show_path(os.path.relpath(root, repository.top).replace(os.sep, "/")),
            modules=_heads(work_tree),
        )
        try:
            if ship(store, work_tree) and not work_tree.modules:
                events.stored.set()
        except HindsightError as exc:
            return replace(document, snapshot=None, problem=f"the code is not in the store: {exc}")
    return document


def _heads(work_tree: Captured, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for path, module in work_tree.modules.items():
        found[show_path(f"{prefix}{path}")] = f"{module.head or ''}{'+' if module.dirty else ''}"
        found.update(_heads(module, f"{prefix}{path}/"))
    return found


def _take_files(root: Path, store: Store, settings: SnapshotSettings, events: _Events) -> CodeDocument:
    files = capture_files(root, settings)
    events.captured.set()
    document = CodeDocument(snapshot=files.snapshot, left_out=shorten(files.left_out))
    try:
        if ship_files(store, files):
            events.stored.set()
    except HindsightError as exc:
        return replace(document, snapshot=None, problem=f"the code is not in the store: {exc}")
    return document


def _without_store(settings: SnapshotSettings, root: Path, store: Store) -> SnapshotSettings:
    """A store inside the project is not part of its code, also where no ignore file says so."""
    path = store.local_path(keys.FORMAT)
    if path is None:
        return settings
    inside = os.path.relpath(path.resolve().parent, root).replace(os.sep, "/")
    if inside == "." or inside.startswith(".."):
        return settings
    return with_exclusion(settings, f"/{escape(inside)}/")
