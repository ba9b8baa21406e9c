"""Stores behind any other fsspec protocol (``gs:``, ``abfs:``, ``sftp:`` …), through fsspec's own verbs."""

from __future__ import annotations

import builtins
import contextlib
import errno
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from tracker.errors import (
    BadSetting,
    HindsightError,
    KeyExists,
    KeyNotFound,
    MissingExtra,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from tracker.secrets import mask_text, mask_url
from tracker.store.base import Info
from tracker.store.remote import RemoteStore, Unsupported
from tracker.store.retry import RetryPolicy, Transient

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SERVER = ("account_name", "account_host", "endpoint_url", "endpoint", "host", "port")  # options that say where it is
_PERMANENT = {errno.EINVAL, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR}


def open_any(url: str, options: Mapping[str, Any], policy: RetryPolicy | None) -> RemoteStore:
    """The store of any URL that fsspec understands; nothing is sent yet."""
    import fsspec

    scheme = url.split("::")[0].split(":")[0]
    shown = mask_url(url).rstrip("/")
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as exc:
        raise MissingExtra(f"{shown} needs another package: {exc}") from exc
    except ValueError as exc:
        raise BadSetting(
            f"{shown!r} has the unknown protocol {scheme!r}: expected a folder, file:, memory:, s3: or a "
            f"protocol of fsspec; a folder of that name is written ./{shown}"
        ) from exc
    server = " ".join(f"{name}={mask_url(str(options[name]))}" for name in _SERVER if options.get(name))
    address = f"{shown} at {server}" if server else shown
    return RemoteStore(shown, lambda: FsspecDriver(url, options), address=address, policy=policy)


class FsspecDriver:
    """One attempt at each operation of an fsspec file system, without its caches."""

    tokens = resumes = False

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        import fsspec.core

        self._shown = mask_url(url)
        try:
            with _translated("the connection", self._shown):
                self._system, root = fsspec.core.url_to_fs(
                    url, **options, skip_instance_cache=True, use_listings_cache=False
                )
        except ImportError as exc:
            raise MissingExtra(f"{self._shown} needs another package: {exc}") from exc
        self._root = root.rstrip("/") + "/"

    def get(self, key: str) -> bytes:
        with _translated(key, self._shown):
            return bytes(self._system.cat_file(self._root + key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with _translated(key, self._shown):
            size = self.info(key).size_bytes  # not every protocol clips a range at the end
            stop = min(start + length, size)
            return bytes(self._system.cat_file(self._root + key, start=start, end=stop)) if start < stop else b""

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        size = self.info(key).size_bytes
        return self.get_range(key, max(0, size - length), length), size

    def put(self, key: str, data: bytes | memoryview, *, only_new: bool, token: str) -> None:
        path = self._root + key
        with _translated(key, self._shown):
            with contextlib.suppress(NotImplementedError, FileExistsError):
                self._system.makedirs(path.rpartition("/")[0], exist_ok=True)  # nothing to do on object stores
            if only_new:
                self._system.pipe_file(path, bytes(data), mode="create")
            else:
                self._system.pipe_file(path, bytes(data))

    def delete(self, keys: builtins.list[str]) -> None:
        for key in keys:
            with _translated(key, self._shown), contextlib.suppress(FileNotFoundError):
                self._system.rm_file(self._root + key)

    def list(self, prefix: str, after: str) -> Iterator[Info]:
        with _translated(prefix or "the listing", self._shown), contextlib.suppress(FileNotFoundError):
            found = self._system.find((self._root + prefix).rstrip("/"), detail=True)
            for path, entry in found.items():
                yield self._info(self._relative(path), entry)

    def folders(self, prefix: str, after: str) -> Iterator[str]:
        with _translated(prefix or "the listing", self._shown), contextlib.suppress(FileNotFoundError):
            for entry in self._system.ls((self._root + prefix).rstrip("/"), detail=True):
                if entry["type"] == "directory":
                    yield entry["name"].rstrip("/").rpartition("/")[2]

    def info(self, key: str) -> Info:
        with _translated(key, self._shown):
            found = self._system.info(self._root + key)
        if found["type"] != "file":
            raise KeyNotFound(f"there is no {key} in {self._shown}")
        return self._info(key, found)

    def token(self, key: str) -> str | None:
        raise Unsupported(f"{self._shown} keeps no marks beside {key}")

    def _relative(self, path: str) -> str:
        return path.lstrip("/").removeprefix(self._root.lstrip("/"))

    def _info(self, key: str, entry: Mapping[str, Any]) -> Info:
        for name in ("mtime", "LastModified", "last_modified", "updated", "modified", "created"):
            value = entry.get(name)
            if isinstance(value, datetime):
                return Info(key, entry["size"], value.timestamp())
            if isinstance(value, int | float):
                return Info(key, entry["size"], float(value))
        return Info(key, entry["size"])


@contextlib.contextmanager
def _translated(key: str, where: str) -> Iterator[None]:
    """Turn what file systems raise into the store's errors; what is not known to be final is tried again."""
    try:
        yield
    except (HindsightError, Transient, ImportError):
        raise
    except FileNotFoundError as exc:
        raise KeyNotFound(f"there is no {key} in {where}") from exc
    except FileExistsError as exc:
        raise KeyExists(f"{key} exists already in {where}; a key is created only once") from exc
    except PermissionError as exc:
        raise StoreReadOnly(f"{where} refuses {key}: {mask_text(str(exc))}; check credentials and permissions") from exc
    except (NotImplementedError, TypeError, ValueError) as exc:
        raise Unsupported(f"{where} has no such operation for {key}: {mask_text(str(exc))}") from exc
    except OSError as exc:
        if exc.errno in _FULL:
            raise StoreFull(f"{where} takes no more bytes for {key}: {exc}; free some space") from exc
        if exc.errno in _PERMANENT:
            raise StoreUnavailable(f"{where} cannot be used for {key}: {mask_text(str(exc))}") from exc
        raise Transient(f"{type(exc).__name__}: {mask_text(str(exc))}") from exc
    except Exception as exc:  # each protocol has errors of its own for a lost connection
        raise Transient(f"{type(exc).__name__}: {mask_text(str(exc))}") from exc
