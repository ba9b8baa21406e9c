"""The files that a run read and its snapshot lacks: data that git ignores, brought into a workspace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tracker.code.checkout import check_path
from tracker.store.documents import InputFile

COPY_BYTES = 8 << 20  # files that are small enough to be somebody's state as well as their data
COPY_TOTAL_BYTES = 256 << 20
_CLONE = 0x40049409  # FICLONE of Linux
_BLOCK_BYTES = 1 << 20


def bring_inputs(inputs: Iterable[InputFile], root: str | None, project: Path) -> list[str]:
    """Put the run's input files into the workspace; returns what is not as the run found it.

    A file that the workspace has already stays. Where the file system can share blocks, and for small files, it is a
    copy, so that a script which writes to its inputs does not reach the original; large files are links. Paths that
    would leave the folder are refused with ``DamagedObject``.
    """
    notes = []
    room_bytes = COPY_TOTAL_BYTES
    for file in inputs:
        check_path(file.path, "of the run's inputs")
        target = project / file.path
        if os.path.lexists(target) or not _is_inside(target.parent, project):
            continue
        source = Path(root or os.sep) / file.path
        problem = "its project's folder is not known" if root is None else _problem(source, file)
        if problem is None or source.is_file():
            room_bytes -= _bring(source, target, room_bytes)
        if problem is not None:
            notes.append(f"input {file.path}: {problem}")
    return notes


def _is_inside(folder: Path, project: Path) -> bool:
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(project))


def _bring(source: Path, target: Path, room_bytes: int) -> int:
    """Bring one file; returns how many bytes were copied for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size_bytes = source.stat().st_size
    if _clone(source, target):
        return 0
    if size_bytes <= min(COPY_BYTES, room_bytes):
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
    if abs(found.st_mtime - file.modified) < 1e-3:
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
