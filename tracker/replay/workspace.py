"""A folder of its own for each slice: the run's code with the probes in it, its inputs, and room for what it writes."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import msgspec

from tracker.code.checkout import Checkout, check_path, checkout
from tracker.errors import DamagedObject
from tracker.replay.inputs import bring_inputs, bring_unchanged
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, InputFile
from tracker.store.keys import FORMAT
from tracker.store.objects import get_object
from tracker.store.processes import Writer, is_alive, is_visible, this_writer

WORKSPACE_PREFIX = "hindsight-replay-"
_OWNER = "owner.json"
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Workspace:
    """Where a slice is executed. ``notes`` say what is not as the run found it."""

    folder: Path
    project: Path  # the copy of the project's folder
    notes: list[str] = field(default_factory=list)

    @property
    def scratch(self) -> Path:
        """The store that the process records into."""
        return self.folder / "scratch"

    @property
    def order(self) -> Path:
        return self.folder / "order.json"

    @property
    def report(self) -> Path:
        return self.folder / "report.jsonl"

    @property
    def output(self) -> Path:
        return self.folder / "output.txt"

    @property
    def elsewhere(self) -> Path:
        """An empty working directory for a run that was started outside of its project."""
        return self.folder / "elsewhere"


@contextmanager
def workspace(
    store: Store,
    code: CodeDocument,
    *,
    sources: str | None = None,
    root: str | None = None,
    inputs: tuple[InputFile, ...] = (),
    started: float = 0.0,
) -> Iterator[Workspace]:
    """The code of a run with the changed ``sources`` (an object), and the input files of its project at ``root``,
    where it began at ``started`` (Unix seconds).

    Everything is removed at the end, also after an error, ``SIGTERM`` or ``SIGHUP``; what a killed process left is
    removed by the next workspace on this machine. Nothing is written outside of the folder.
    """
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=WORKSPACE_PREFIX)).resolve()
    try:
        with _ended_by_signals():
            (folder / _OWNER).write_bytes(msgspec.json.encode(this_writer()))
            found = checkout(store, code, folder / "code")
            _write_sources(store, sources, found, code.snapshot or "")
            notes = bring_inputs(inputs, root, found.project)
            bring_unchanged(root, found.project, before=started, exclude=_folder_of(store))
            yield Workspace(folder, found.project, notes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder_of(store: Store) -> list[Path]:
    path = store.local_path(FORMAT)
    return [] if path is None else [path.parent]


def _write_sources(store: Store, sources: str | None, found: Checkout, snapshot: str) -> None:
    """Write the files that the probes changed; never through a link."""
    if sources is None:
        return
    try:
        texts = msgspec.json.decode(get_object(store, sources), type=dict[str, str])
    except msgspec.MsgspecError as exc:
        raise DamagedObject(f"the sources {sources} of a replay are not texts by path: {exc}") from exc
    for path, text in texts.items():
        check_path(path, snapshot)
        target = found.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.realpath(target.parent) != str(target.parent):
            raise DamagedObject(f"{path!r} of the code snapshot {snapshot} leads through a link")
        target.unlink(missing_ok=True)
        target.write_bytes(text.encode("utf-8", "surrogateescape"))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let the signals that ask a process to end unwind it, where nobody else handles them; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [each for each in _SIGNALS if signal.getsignal(each) is signal.SIG_DFL]
    for each in taken:
        signal.signal(each, _exit)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _sweep() -> None:
    """Remove the workspaces of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{WORKSPACE_PREFIX}*"):
        with suppress(OSError, msgspec.MsgspecError):
            mine = folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
            owner = msgspec.json.decode((folder / _OWNER).read_bytes(), type=Writer)
            if mine and is_visible(owner) and not is_alive(owner):
                shutil.rmtree(folder, ignore_errors=True)
