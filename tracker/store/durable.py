"""Durable writes to a local file system, and the one translation of its errors into ours."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from tracker.errors import BadKey, HindsightError, KeyExists, KeyNotFound, StoreFull, StoreReadOnly, StoreUnavailable

TEMPORARY = ".tmp-"  # prefix of files that are not finished; a kill leaves them behind, nobody reads them

_FOLDER_TRIES = 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


def write(path: Path, data: bytes | memoryview) -> None:
    """Write or replace a file atomically; it is durable when this returns.

    A reader sees the old bytes or the new ones. If the process dies here, at most a temporary file stays.
    """
    temporary = _write_temporary(path, data)
    try:
        os.replace(temporary, path)
    except BaseException:
        _unlink_quietly(temporary)
        raise
    sync_folder(path.parent)


def create(path: Path, data: bytes | memoryview) -> None:
    """Write a new file, or raise ``FileExistsError`` and change nothing.

    One of several writers wins, also over NFS: the finished file gets its name by a hard link, which fails
    when the name is taken. Where there are no hard links the name is reserved first, empty for a moment.
    """
    temporary = _write_temporary(path, data)
    try:
        _claim(temporary, path)
    finally:
        _unlink_quietly(temporary)
    sync_folder(path.parent)


def _claim(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS repeats a link whose reply was lost, and then reports our own success as a conflict.
        if os.stat(temporary).st_nlink != 2:
            raise
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
        os.replace(temporary, path)


def _write_temporary(path: Path, data: bytes | memoryview) -> Path:
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    descriptor = _open_in_folder(temporary)
    try:
        with open(descriptor, "wb", buffering=0) as file:
            _write_all(file.fileno(), data)
            os.fsync(file.fileno())
    except BaseException:
        _unlink_quietly(temporary)
        raise
    return temporary


def _open_in_folder(path: Path) -> int:
    """Open a new file, in a folder that is made where it is missing; again where somebody removes it while empty."""
    for _ in range(_FOLDER_TRIES):
        try:
            return _open_new(path)
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                make_folder(path.parent)
    return _open_new(path)


def _open_new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _unlink_quietly(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents; their names are durable when this returns."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the file system can do that; one that is gone by now has none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    except OSError as exc:
        # Some network and FUSE file systems refuse fsync on folders; their renames are as durable as they get.
        if exc.errno not in {errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES, errno.EPERM}:
            raise
    finally:
        os.close(descriptor)


def leftovers(root: Path) -> Iterator[Path]:
    """Temporary files below a folder that writers left behind when they were killed (or still write)."""
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name) for name in names if name.startswith(TEMPORARY))


@contextlib.contextmanager
def translated(path: Path, key: str) -> Iterator[None]:
    """Turn what the operating system reports into the store's errors, which name the key and the remedy."""
    try:
        yield
    except HindsightError:
        raise
    except OSError as exc:
        raise _translate(exc, path, key) from exc


def _translate(exc: OSError, path: Path, key: str) -> Exception:
    code, reason = exc.errno, os.strerror(exc.errno or 0)
    if code == errno.EEXIST:
        return KeyExists(f"{key} exists already at {path}; a key is created only once")
    if code in _ABSENT:
        return KeyNotFound(f"there is no {key} in the store (no file {path})")
    if code in _FULL:
        return StoreFull(
            f"{key} was not stored at {path}: {reason}{_free(path)}; free some space or choose another store"
        )
    if code in _REFUSED:
        return StoreReadOnly(
            f"{key} cannot be used at {path}: {reason}; check the owner "
            "and permissions of the folder, and how it is mounted"
        )
    if code in {errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.EILSEQ}:
        return BadKey(f"{key!r} cannot be the name of a file at {path}: {reason}; use a shorter or simpler name")
    return StoreUnavailable(
        f"{key} cannot be reached at {path}: {reason}; check that the file system is mounted and healthy"
    )


def _free(path: Path) -> str:
    for folder in path.parents:
        with contextlib.suppress(OSError):
            return f" ({shutil.disk_usage(folder).free:,} bytes are free there)"
    return ""
