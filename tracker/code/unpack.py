"""Git repositories made from the bundles of a store, in which nothing of the bundles is trusted."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tracker.code.bundle import Header, read_header
from tracker.code.git import Git
from tracker.code.scratch import NO_FILTERS
from tracker.code.worktree import REFS
from tracker.errors import CodeError, DamagedObject, KeyNotFound
from tracker.store import keys
from tracker.store.base import Store

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LONGEST_CHAIN = 1000
_SETTINGS = (
    "[core]\nrepositoryformatversion = {version}\nbare = {bare}\nprotectHFS = true\nprotectNTFS = true\n"
    "autocrlf = false\nsymlinks = true\n[gc]\nauto = 0\n[extensions]\n{extensions}"
)


class SnapshotRepository:
    """A git repository that snapshots of one store are unpacked into, each bundle once.

    ::

        repository = SnapshotRepository(store, Path(folder))
        repository.fetch(first); repository.fetch(second)
        repository.git.run("diff", first, second)
    """

    def __init__(self, store: Store, folder: Path, *, work_tree: Path | None = None) -> None:
        self.store = store
        self.folder = folder
        self.work_tree = work_tree
        self._present: set[str] = set()
        self._format: str | None = None

    @property
    def git(self) -> Git:
        """Commands in this repository."""
        environment = {"GIT_DIR": os.fspath(self.folder)}
        if self.work_tree is not None:
            environment["GIT_WORK_TREE"] = os.fspath(self.work_tree)
        return Git(self.work_tree or self.folder, environment)

    def fetch(self, snapshot: str) -> None:
        """Unpack a snapshot with all that its bundle builds on.

        ``KeyNotFound`` when the store lacks a part of it, ``DamagedObject`` when one is not what it says.
        """
        chain: list[tuple[str, bytes, Header]] = []
        waiting = [snapshot]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in self._present or name in seen:
                continue
            if len(seen) >= _LONGEST_CHAIN:
                raise DamagedObject(
                    f"the bundles of the snapshot {snapshot} lead through more than {_LONGEST_CHAIN} others"
                )
            seen.add(name)
            data = self._read(name, wanted_by=snapshot)
            header = read_header(data, name=name)
            chain.append((name, data, header))
            waiting.extend(header.needs)
        for name, data, header in reversed(chain):
            self._unpack(name, data, header)

    def _read(self, name: str, *, wanted_by: str) -> bytes:
        if not _COMMIT.fullmatch(name):
            raise CodeError(f"{name!r} is not the name of a git snapshot: expected a commit of 40 or 64 hex digits")
        try:
            return self.store.get(keys.code_bundle(name))
        except KeyNotFound as exc:
            reason = "is not in the store" if name == wanted_by else f"needs {name}, which is not in the store"
            raise KeyNotFound(
                f"the code snapshot {wanted_by} {reason} {self.store.url}: copy it from the store that recorded the run"
            ) from exc

    def _unpack(self, name: str, data: bytes, header: Header) -> None:
        self._create("sha1" if len(name) == 40 else "sha256")
        try:
            self.git.run("index-pack", "--stdin", "--fix-thin", stdin=data[header.pack_start :])
            self.git.run("cat-file", "-e", f"{name}^{{tree}}")
            self.git.run("update-ref", f"{REFS}{name}", name)
        except CodeError as exc:
            raise DamagedObject(f"the bundle of the code snapshot {name} cannot be unpacked: {exc}") from exc
        self._present.add(name)

    def _create(self, object_format: str) -> None:
        if self._format is None:
            _lay_out(self.folder, object_format, bare=self.work_tree is None)
            self._format = object_format
        if self._format != object_format:
            raise CodeError("snapshots of a SHA-1 and of a SHA-256 repository do not fit into one repository")


def _lay_out(folder: Path, object_format: str, *, bare: bool) -> None:
    """A repository without templates, so without hooks, whatever the machine's git settings say."""
    for name in ("refs", "objects", "info"):
        (folder / name).mkdir(parents=True)
    is_sha1 = object_format == "sha1"
    settings = _SETTINGS.format(
        version=0 if is_sha1 else 1,
        bare=str(bare).lower(),
        extensions="" if is_sha1 else f"objectFormat = {object_format}\n",
    )
    (folder / "config").write_text(settings, encoding="utf-8")
    (folder / "info" / "attributes").write_text(NO_FILTERS, encoding="utf-8")
    (folder / "HEAD").write_text("ref: refs/heads/none\n", encoding="utf-8")
