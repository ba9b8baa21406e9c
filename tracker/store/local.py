"""The store in a folder of this machine: a local disk, NFS, or any other mounted file system."""

from __future__ import annotations

import builtins
import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from tracker.errors import BadKey, KeyNotFound
from tracker.store import durable
from tracker.store.base import Info, check_prefix, check_range
from tracker.store.keys import check


class LocalStore:
    """Files below one folder; every verb is atomic, durable, and safe in threads and after a fork.

    Nothing outside the folder is reached: keys are checked, symbolic links below the root are never followed,
    and whatever is not a plain file (a pipe, a device) is treated as absent.
    """

    conditional_put = True

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.realpath(root))
        self.url = str(self.root)

    def __repr__(self) -> str:
        return f"LocalStore({self.url!r})"

    def get(self, key: str) -> bytes:
        """All bytes of a key."""
        with self.open(key) as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start``; fewer, or none, at the end of the key."""
        check_range(key, start, length)
        with self.open(key) as file:
            return os.pread(file.fileno(), length, start) if length else b""

    def open(self, key: str) -> BinaryIO:
        """A seekable reader of the bytes as they are now; a later replacement does not change it."""
        path = self._path(key)
        with durable.translated(path, key):
            # O_NONBLOCK: a named pipe that somebody put there must not hang us.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise KeyNotFound(f"there is no {key} in the store ({path} is not a plain file)")
            return open(descriptor, "rb")

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace a key atomically; durable when this returns."""
        path = self._path(key)
        with durable.translated(path, key), _not_a_folder(path, key):
            durable.write(path, data)

    def create(self, key: str, data: bytes | memoryview) -> None:
        """Write a new key, or raise ``KeyExists`` and change nothing; exactly one of many writers wins."""
        path = self._path(key)
        with durable.translated(path, key), _not_a_folder(path, key):
            durable.create(path, data)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove keys; those that are not there are not an error."""
        for key in keys:
            path = self._path(key)
            with durable.translated(path, key), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if not path.is_dir():
                    os.unlink(path)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[Info]:
        """Every key below a prefix, sorted; unfinished, linked and unusable names are left out."""
        folder = self._path(check_prefix(prefix)[:-1]) if prefix else self.root
        with durable.translated(folder, prefix):
            yield from _walk(folder, prefix, after)

    def folders(self, prefix: str = "", *, after: str = "") -> builtins.list[str]:
        """Names of the direct sub-folders of a prefix, sorted; a folder that lost its last key may still be named."""
        folder = self._path(check_prefix(prefix)[:-1]) if prefix else self.root
        with durable.translated(folder, prefix):
            found = _scan(folder, prefix, after=after)
            return sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))

    def info(self, key: str) -> Info:
        """Size and time of one key."""
        path = self._path(key)
        with durable.translated(path, key):
            found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            raise KeyNotFound(f"there is no {key} in the store ({path} is not a plain file)")
        return Info(key, found.st_size, found.st_mtime)

    def local_path(self, key: str) -> Path | None:
        """The file behind a key, whether it exists or not."""
        return self._path(key)

    def _path(self, key: str) -> Path:
        """The path of a key, after making sure that it is below the root and reached through no link."""
        path = self.root / check(key)
        if path.name.startswith(durable.TEMPORARY):
            raise BadKey(f"{key!r} is not a key: names that begin with {durable.TEMPORARY!r} are unfinished files")
        folder = self.url
        for part in key.split("/")[:-1]:
            folder = f"{folder}{os.sep}{part}"
            try:
                is_link = stat.S_ISLNK(os.lstat(folder).st_mode)
            except OSError:
                break  # there is no such folder, so nothing leads elsewhere
            if is_link:
                raise BadKey(f"{key!r} leads through a symbolic link below {self.root}; a store may not contain links")
        return path


@contextlib.contextmanager
def _not_a_folder(path: Path, key: str) -> Iterator[None]:
    """Name the real obstacle when a folder stands where a file should go, or a file where a folder should."""
    try:
        yield
    except OSError as exc:
        if exc.errno in {errno.EISDIR, errno.ENOTDIR, errno.EEXIST} and not (
            exc.errno == errno.EEXIST and path.is_file()
        ):
            raise BadKey(f"{key!r} cannot be a key here: {path} is a folder, or one of its parents is a file") from exc
        raise


def _scan(folder: Path, prefix: str, *, after: str = "") -> list[os.DirEntry[str]]:
    """The entries of a folder whose names can be keys; none when the folder is not there."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.name > after and _usable(entry, prefix)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _usable(entry: os.DirEntry[str], prefix: str) -> bool:
    if entry.name.startswith(durable.TEMPORARY) or entry.is_symlink():
        return False
    try:
        check(prefix + entry.name)
    except BadKey:
        return False
    return True


def _walk(folder: Path, prefix: str, after: str) -> Iterator[Info]:
    # A folder sorts as "name/", so that the whole listing is sorted by key as it is on S3.
    entries = [(entry.name + "/" * entry.is_dir(follow_symlinks=False), entry) for entry in _scan(folder, prefix)]
    for name, entry in sorted(entries, key=lambda pair: pair[0]):
        if prefix + name <= after and not (name.endswith("/") and after.startswith(prefix + name)):
            continue
        if name.endswith("/"):
            yield from _walk(Path(entry.path), prefix + name, after)
        elif entry.is_file(follow_symlinks=False):
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed since the folder was read
            yield Info(prefix + name, found.st_size, found.st_mtime)
