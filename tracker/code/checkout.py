"""Putting any run's code into an empty folder, from the store alone.

Nothing of what a store holds is trusted: no hook or filter runs, and nothing is written outside the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tracker.code.files import decode_path
from tracker.code.shipping import is_shipped, read_snapshot
from tracker.code.unpack import SnapshotRepository
from tracker.errors import CodeError, DamagedObject, NotFound
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, CodeFile, Snapshot
from tracker.store.objects import get_object

_FORBIDDEN = frozenset(("", ".", "..", ".git"))
_MAX_DEPTH = 8


@dataclass
class Checkout:
    """Code that has been put into a folder."""

    folder: Path
    project: Path  # the project's folder below it, where the run was started from
    commit: str | None  # what HEAD stands on; None for a folder that had no git
    refused: dict[str, str] = field(default_factory=dict)  # path -> why it was not written
    left_out: dict[str, str] = field(default_factory=dict)  # path -> why the snapshot does not have it


def checkout(store: Store, code: CodeDocument | str, directory: Path, *, outside_links: bool = False) -> Checkout:
    """Put the code of a run, or a snapshot by name, into a folder that is empty or not there yet.

    Where the code came from git, the folder is a repository with a detached HEAD and a clean status; repositories that
    stood inside it are repositories again. Links that lead out of the folder are refused unless ``outside_links``.
    Raises ``NotFound`` when the run has no snapshot, ``DamagedObject`` when the store's bytes are not what they should
    be, ``CodeError`` when the folder is not empty. Fails whole: what was written is removed.
    """
    document = CodeDocument(snapshot=code) if isinstance(code, str) else code
    if document.snapshot is None:
        raise NotFound(f"this run has no code snapshot: {document.problem or 'capturing code was switched off'}")
    directory = Path(directory).resolve()
    with _new_folder(directory):
        result = Checkout(directory, _below(directory, document.subfolder), None, left_out=dict(document.left_out))
        _write(store, read_snapshot(store, document.snapshot), directory, result, depth=0)
        _settle_links(directory, result, keep=outside_links)
    return result


def _write(store: Store, snapshot: Snapshot, folder: Path, result: Checkout, *, depth: int) -> None:
    if snapshot.kind == "files":
        _write_files(store, snapshot, folder)
        return
    repository = SnapshotRepository(store, folder / ".git", work_tree=folder)
    repository.fetch(snapshot.snapshot)
    modules = _check_tree(repository, snapshot.snapshot)
    git = repository.git
    git.run("update-ref", "--no-deref", "HEAD", snapshot.snapshot)
    git.run("read-tree", "--reset", "-u", snapshot.snapshot)
    if depth == 0:
        result.commit = snapshot.snapshot
    for path, commit in modules.items():
        inner = folder / path
        if depth < _MAX_DEPTH and is_shipped(store, commit) and os.path.realpath(inner) == str(inner):
            inner.mkdir(parents=True, exist_ok=True)
            _write(store, read_snapshot(store, commit), inner, result, depth=depth + 1)
        else:
            result.refused[os.path.relpath(inner, result.folder)] = (
                f"the store has no snapshot {commit} of this repository"
            )


def _check_tree(repository: SnapshotRepository, snapshot: str) -> dict[str, str]:
    """Refuse names that would leave the folder or reach into ``.git``; returns the repositories inside by path."""
    modules = {}
    for entry in os.fsdecode(repository.git.run("ls-tree", "-r", "-z", "--full-tree", snapshot)).split("\0"):
        if not entry:
            continue
        details, _, path = entry.partition("\t")
        check_path(path, snapshot)
        if details.startswith("160000"):
            modules[path] = details.split()[2]
    return modules


def check_path(path: str, snapshot: str) -> None:
    """``DamagedObject`` unless the path is relative and stays where it is put."""
    parts = path.split("/")
    if any(part.casefold() in _FORBIDDEN or "\0" in part or (os.sep in part) for part in parts):
        raise DamagedObject(
            f"the code snapshot {snapshot} holds the path {path!r}, which would leave the folder or change a "
            "repository: nothing was written; do not use this store before you know who wrote it"
        )


def _write_files(store: Store, snapshot: Snapshot, folder: Path) -> None:
    """Write files first and links last, so that no file can be written through a link."""
    paths = [(decode_path(file), file) for file in snapshot.files]
    for path, _ in paths:
        check_path(path, snapshot.snapshot)
    for path, file in sorted(paths, key=lambda item: item[1].kind == "link"):
        target = folder / path
        content = get_object(store, file.digest)
        try:
            if os.path.realpath(target.parent) != str(target.parent):
                raise OSError("it leads through a link")  # not even folders or links are made where another one leads
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_file(target, file, content)
        except OSError as exc:
            raise DamagedObject(f"the code snapshot {snapshot.snapshot} cannot be written at {path!r}: {exc}") from exc


def _write_file(target: Path, file: CodeFile, content: bytes) -> None:
    if file.kind == "link":
        os.symlink(os.fsdecode(content), target)
        return
    mode = 0o777 if file.kind == "executable" else 0o666
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    with open(descriptor, "wb") as out:
        out.write(content)


def _settle_links(folder: Path, result: Checkout, *, keep: bool) -> None:
    """Take away the links that lead out of the folder, following them as the system would."""
    inside = os.path.realpath(folder)
    for link in [] if keep else _links(folder):
        goal = os.path.realpath(link)
        if goal != inside and not goal.startswith(inside + os.sep):
            target = os.readlink(link)
            os.unlink(link)
            result.refused[os.path.relpath(link, folder)] = f"a link that leads out of the folder, to {target}"


def _links(folder: Path) -> list[str]:
    found = []
    for where, folders, files in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        found += [path for path in (os.path.join(where, name) for name in folders + files) if os.path.islink(path)]
    return found


def _below(folder: Path, inside: str) -> Path:
    parts = inside.split("/")
    if inside == ".":
        return folder
    if any(part in _FORBIDDEN for part in parts):
        raise DamagedObject(
            f"the project's folder {inside!r} is not below the snapshot: the document of the run is damaged"
        )
    return folder.joinpath(*parts)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    existed = folder.exists()
    if existed and (not folder.is_dir() or any(folder.iterdir())):
        raise CodeError(f"{folder} is not an empty folder: name one that is empty or does not exist yet")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if not existed:
            folder.rmdir()
        raise
