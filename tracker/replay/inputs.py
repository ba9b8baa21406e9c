"""The files of a run's project that its snapshot lacks, such as data that git ignores, brought into a workspace.

Input files that were not written since the run are linked: the run read them and did not write to them, so its replay
does not either. All else is copied, so that a script which writes to it does not reach the original; only what is too
large for that is linked.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tracker.code.checkout import check_path
from tracker.store.documents import InputFile

COPY_BYTES = 256 << 20  # in all; larger ones are linked
MAX_FILES = 20_000
_MAX_VISITED = 200_000
_SAME_TIME_S = 1e-3
_CLONE = 0x40049409  # FICLONE of Linux
_BLOCK_BYTES = 1 << 20
_TOOL_FOLDERS = {".git", ".hindsight", ".ipynb_checkpoints", "__pycache__", "node_modules", "site-packages"}
_TOOL_FOLDERS |= {".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}


def bring_inputs(inputs: Iterable[InputFile], root: str | None, project: Path) -> list[str]:
    """Put the run's input files into the workspace; returns what is not as the run found it.

    A file that the workspace has already stays. Paths that would leave the folder are refused with ``DamagedObject``.
    """
    notes = []
    room_bytes = COPY_BYTES
    for file in inputs:
        check_path(file.path, "of the run's inputs")
        target = project / file.path
        if os.path.lexists(target) or not _is_inside(target.parent, project):
            continue
        source = Path(root or os.sep) / file.path
        problem = "its project's folder is not known" if root is None else _problem(source, file)
        if root is not None and source.is_file():
            room_bytes -= _bring(source, target, file, room_bytes)
        if problem is not None:
            notes.append(f"input {file.path}: {problem}")
    return notes


def bring_unchanged(root: str | None, project: Path, *, before: float, exclude: Iterable[Path] = ()) -> int:
    """Bring the other files of the original project that were last written ``before`` (Unix seconds) the run began.

    The run may have read them where nobody looked: before its first record, or from a library that is not written in
    Python. It may also have written them before its first record, or write them now and not then. So they are copied,
    the smallest first, up to ``COPY_BYTES``; the rest is linked. Folders of tools, environments and ``exclude`` are
    left out. Returns how many; at most ``MAX_FILES``.
    """
    if root is None or not os.path.isdir(root):
        return 0
    count, room_bytes = 0, COPY_BYTES
    for size_bytes, name in sorted(_older_files(root, before, {os.path.realpath(path) for path in exclude})):
        target = project / name
        if count >= MAX_FILES:
            break
        if not os.path.lexists(target) and _is_inside(target.parent, project):
            with suppress(OSError):
                target.parent.mkdir(parents=True, exist_ok=True)
                room_bytes -= _copy_or_link(Path(root, name), target, size_bytes, room_bytes)
                count += 1
    return count


def _older_files(root: str, before: float, excluded: set[str]) -> Iterator[tuple[int, str]]:
    """Sizes and names."""
    folders, visited = [root], 0
    while folders and visited < _MAX_VISITED:
        folder = folders.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                visited += 1
                if entry.is_dir(follow_symlinks=False):
                    if not _is_foreign(entry, excluded):
                        folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    if found.st_mtime < before:
                        yield found.st_size, os.path.relpath(entry.path, root)


def _is_foreign(entry: os.DirEntry[str], excluded: set[str]) -> bool:
    environment = os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))
    return entry.name in _TOOL_FOLDERS or environment or os.path.realpath(entry.path) in excluded


def _is_inside(folder: Path, project: Path) -> bool:
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(project))


def _bring(source: Path, target: Path, file: InputFile, room_bytes: int) -> int:
    """Bring one file; returns how many bytes were copied for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    found = source.stat()
    unchanged = abs(found.st_mtime - file.modified) < _SAME_TIME_S and found.st_size == file.size_bytes
    if not unchanged:
        return _copy_or_link(source, target, found.st_size, room_bytes)
    target.symlink_to(source)
    return 0


def _copy_or_link(source: Path, target: Path, size_bytes: int, room_bytes: int) -> int:
    """Returns how many bytes were copied."""
    if _clone(source, target):
        return 0
    if size_bytes <= room_bytes:
        shutil.copy2(source, target)
        return size_bytes
    target.symlink_to(source)
    return 0


def _clone(source: Path, target: Path) -> bool:
    """Share the blocks of a file where the file system can."""
    import fcntl

    try:
        with source.open("rb") as old, target.open("xb") as new:
            fcntl.ioctl(new.fileno(), _CLONE, old.fileno())
        shutil.copystat(source, target)
    except OSError:
        with suppress(OSError):
            target.unlink()
        return False
    return True


def _problem(source: Path, file: InputFile) -> str | None:
    """Why a file may not be the one that the run read."""
    try:
        found = source.stat()
    except OSError:
        return "it is no longer there"
    if not source.is_file():
        return "it is no longer a file"
    if found.st_size != file.size_bytes:
        return f"it has {found.st_size:,} bytes now and had {file.size_bytes:,}"
    if abs(found.st_mtime - file.modified) < _SAME_TIME_S:
        return None
    if file.digest is None:
        return "it was written since, and was too large to be hashed"
    return None if _digest(source) == file.digest else "its content has changed since"


def _digest(source: Path) -> str:
    from blake3 import blake3

    hasher = blake3()
    with source.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()
