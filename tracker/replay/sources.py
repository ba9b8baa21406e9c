"""The Python files of a project, as today's work tree has them or as a run's snapshot does, under the same paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tracker.code.difference import source_files
from tracker.code.files import capture_files, decode_path
from tracker.code.listing import finish_changes, list_tracked, look_at, start_changes
from tracker.code.repository import Repository, owning_repository
from tracker.code.scratch import scratch_repository
from tracker.code.selection import SnapshotSettings, choose, read_rules
from tracker.errors import CodeError
from tracker.store.base import Store
from tracker.store.documents import CodeDocument

SUFFIXES = (".py", ".pyw")
_LINK = "120000"
MAX_BYTES = 2 << 20  # what is longer was not written by hand
_SETTINGS = SnapshotSettings(max_file_bytes=MAX_BYTES)


@dataclass
class Snapshots:
    """The sources of snapshots; each is read from the store once."""

    store: Store
    _known: dict[str, dict[str, str]] = field(default_factory=dict)

    def sources(self, code: CodeDocument) -> Mapping[str, str]:
        """Python files by path below the snapshot's top folder. Raises what the store raises."""
        name = code.snapshot or ""
        if name not in self._known:
            files = source_files(self.store, code)
            self._known[name] = _texts((path, file.content) for path, file in files.items() if file.mode != _LINK)
        return self._known[name]


def current_sources(root: str | os.PathLike[str]) -> dict[str, str]:
    """The Python files that a snapshot of this work tree would hold now; nothing is written to the repository.

    Paths are relative to the top of the git repository, else to ``root``, as in snapshots. Line ends are kept. Files
    that are not UTF-8, and links, are left out.
    """
    root = Path(root).resolve()
    repository = owning_repository(root)
    if repository is not None:
        try:
            return _of_repository(repository, root)
        except CodeError:
            pass  # as for a snapshot: where git refuses, the files speak for themselves
    files = capture_files(root, _SETTINGS)
    regular = (each for each in files.files if each.kind != "link")
    return _texts((decode_path(each), files.contents[each.digest]) for each in regular)


def _of_repository(repository: Repository, root: Path) -> dict[str, str]:
    rules = read_rules(_SETTINGS, top=repository.top, project=root)
    with ExitStack() as stack:
        git = stack.enter_context(scratch_repository(repository)).git
        with start_changes(git) as looking:
            listing = list_tracked(git)
            finish_changes(listing, looking)
    named = {*listing.tracked, *listing.changed, *listing.new}.difference(listing.removed)
    found, _ = look_at(repository.top, sorted(path for path in named if path.endswith(SUFFIXES)))
    unlinked = [each for each in found if not os.path.islink(os.path.join(repository.top, each.path))]
    chosen = choose(unlinked, rules, top=repository.top, left_out={})
    return _texts((each.path, _read(repository.top / each.path)) for each in chosen)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # went away under our feet


def _texts(files: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """The files that are Python in UTF-8, in order of their paths."""
    found = {}
    for path, content in sorted(files):
        if path.endswith(SUFFIXES) and len(content) <= MAX_BYTES:
            try:
                found[path] = content.decode("utf-8")
            except UnicodeDecodeError:
                continue
    return found
