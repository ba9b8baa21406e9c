"""The unified diff between two snapshots of code."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tracker.code.files import decode_path
from tracker.code.scratch import temporary_folder
from tracker.code.selection import show_path
from tracker.code.shipping import is_shipped, read_snapshot
from tracker.code.unpack import SnapshotRepository
from tracker.errors import CodeError, NotFound
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, Snapshot
from tracker.store.objects import get_object

_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--find-renames", "--ignore-submodules=all")
_MAX_DEPTH = 8


@dataclass(frozen=True)
class SourceFile:
    """One file of a snapshot."""

    mode: str  # as git writes it: 100644, 100755, 120000
    content: bytes


def code_diff(store: Store, old: CodeDocument, new: CodeDocument) -> str:
    """The unified diff from the code of one run to that of another; empty when they ran the same code.

    Both may come from git or from folders without it. Bytes that are not UTF-8 are shown as escapes.
    """
    first, second = _name(old), _name(new)
    if first == second:
        return ""
    snapshots = read_snapshot(store, first), read_snapshot(store, second)
    with temporary_folder() as folder:
        if all(each.kind == "git" for each in snapshots) and len(first) == len(second):
            repository = SnapshotRepository(store, folder / "code.git")
            return b"".join(_diff_trees(repository, first, second, prefix="")).decode("utf-8", "backslashreplace")
        sides = [_files(store, each, folder / str(number)) for number, each in enumerate(snapshots)]
    return "".join(_diff_files(*sides))


def source_files(store: Store, code: CodeDocument) -> dict[str, SourceFile]:
    """All files of a run's code by path, read straight from the store; repositories inside it are left out."""
    with temporary_folder() as folder:
        return _files(store, read_snapshot(store, _name(code)), folder / "code.git")


def _name(code: CodeDocument) -> str:
    if code.snapshot is None:
        raise NotFound(f"a run has no code snapshot to compare: {code.problem or 'capturing code was switched off'}")
    return code.snapshot


def _diff_trees(
    repository: SnapshotRepository, old: str | None, new: str | None, *, prefix: str, depth: int = 0
) -> Iterator[bytes]:
    for snapshot in filter(None, (old, new)):
        repository.fetch(snapshot)
    git = repository.git
    empty = git.text("hash-object", "-t", "tree", "--stdin")
    yield git.run(*_DIFF, f"--src-prefix=a/{prefix}", f"--dst-prefix=b/{prefix}", old or empty, new or empty)
    before, after = ({} if each is None else modules_of(repository, each) for each in (old, new))
    for path in sorted(before.keys() | after.keys()):
        pair = [_if_shipped(repository.store, side.get(path)) for side in (before, after)]
        if before.get(path) != after.get(path) and depth < _MAX_DEPTH and any(pair):
            yield from _diff_trees(repository, *pair, prefix=f"{prefix}{path}/", depth=depth + 1)


def _if_shipped(store: Store, commit: str | None) -> str | None:
    return commit if commit is not None and is_shipped(store, commit) else None


def modules_of(repository: SnapshotRepository, snapshot: str) -> dict[str, str]:
    """The repositories inside a snapshot: path to commit."""
    listed = os.fsdecode(repository.git.run("ls-tree", "-r", "-z", "--full-tree", snapshot)).split("\0")
    rows = (entry.partition("\t") for entry in listed if entry.startswith("160000"))
    return {path: details.split()[2] for details, _, path in rows}


def _files(store: Store, snapshot: Snapshot, folder: Path) -> dict[str, SourceFile]:
    if snapshot.kind == "files":
        modes = {"file": "100644", "executable": "100755", "link": "120000"}
        return {
            decode_path(file): SourceFile(modes[file.kind], get_object(store, file.digest)) for file in snapshot.files
        }
    repository = SnapshotRepository(store, folder)
    repository.fetch(snapshot.snapshot)
    return dict(_read_tree(repository, snapshot.snapshot))


def _read_tree(repository: SnapshotRepository, snapshot: str) -> Iterator[tuple[str, SourceFile]]:
    listed = os.fsdecode(repository.git.run("ls-tree", "-r", "-z", "--full-tree", snapshot)).split("\0")
    rows = [entry.partition("\t") for entry in listed if entry and not entry.startswith("160000")]
    names = [details.split()[2] for details, _, _ in rows]
    output = repository.git.run("cat-file", "--batch", stdin="".join(f"{name}\n" for name in names).encode())
    at = 0
    for details, _, path in rows:
        end = output.index(b"\n", at)
        header = output[at:end].split()
        if len(header) != 3:
            raise CodeError(f"the snapshot {snapshot} lacks the content of {path!r}: {header!r}")
        size = int(header[2])
        yield path, SourceFile(details.split()[0], output[end + 1 : end + 1 + size])
        at = end + size + 2


def _diff_files(old: dict[str, SourceFile], new: dict[str, SourceFile]) -> Iterator[str]:
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before != after:
            yield from _diff_file(show_path(path), before, after)


def _diff_file(path: str, before: SourceFile | None, after: SourceFile | None) -> Iterator[str]:
    yield f"diff --git a/{path} b/{path}\n"
    if before is None and after is not None:
        yield f"new file mode {after.mode}\n"
    elif after is None and before is not None:
        yield f"deleted file mode {before.mode}\n"
    elif before is not None and after is not None and before.mode != after.mode:
        yield f"old mode {before.mode}\nnew mode {after.mode}\n"
    texts = [_lines(each) for each in (before, after)]
    names = f"a/{path}" if before else "/dev/null", f"b/{path}" if after else "/dev/null"
    if texts[0] is None or texts[1] is None:
        if before is None or after is None or before.content != after.content:
            yield f"Binary files {names[0]} and {names[1]} differ\n"
        return
    for line in difflib.unified_diff(texts[0], texts[1], *names):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(file: SourceFile | None) -> list[str] | None:
    """The lines of a text, or ``None`` for a binary file."""
    if file is None:
        return []
    if b"\0" in file.content[:8000]:
        return None
    return file.content.decode("utf-8", "backslashreplace").splitlines(keepends=True)
