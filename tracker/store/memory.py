"""The store in the memory of this process, for tests, notebooks and dry runs."""

from __future__ import annotations

import builtins
import io
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from tracker.errors import KeyExists, KeyNotFound
from tracker.store.base import Info, check_prefix, check_range
from tracker.store.keys import check

_contents: dict[str, dict[str, tuple[bytes, float]]] = {}  # name of a store -> key -> bytes, time


class MemoryStore:
    """Keys in a dictionary; stores of the same name share their keys, and a forked child goes on with a copy.

    No lock is needed, so none can be held during a fork: every verb is one atomic operation on a dictionary.
    """

    conditional_put = True

    def __init__(self, name: str = "") -> None:
        self.url = f"memory://{name}"
        self._keys = _contents.setdefault(name, {})

    def __repr__(self) -> str:
        return f"MemoryStore({self.url!r})"

    def get(self, key: str) -> bytes:
        """All bytes of a key."""
        return self._entry(key)[0]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start``; fewer, or none, at the end of the key."""
        check_range(key, start, length)
        return self._entry(key)[0][start : start + length]

    def open(self, key: str) -> BinaryIO:
        """A seekable reader of the bytes as they are now."""
        return io.BytesIO(self._entry(key)[0])

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace a key atomically."""
        self._keys[check(key)] = (bytes(data), time.time())

    def create(self, key: str, data: bytes | memoryview) -> None:
        """Write a new key, or raise ``KeyExists`` and change nothing."""
        entry = (bytes(data), time.time())
        if self._keys.setdefault(check(key), entry) is not entry:
            raise KeyExists(f"{key} exists already in {self.url}; a key is created only once")

    def delete(self, keys: Iterable[str]) -> None:
        """Remove keys; those that are not there are not an error."""
        for key in keys:
            self._keys.pop(check(key), None)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[Info]:
        """Every key below a prefix, sorted, as they were at the first step of the iteration."""
        check_prefix(prefix)
        for key, (data, modified) in sorted(self._keys.copy().items()):
            if key.startswith(prefix) and key > after:
                yield Info(key, len(data), modified)

    def folders(self, prefix: str = "", *, after: str = "") -> builtins.list[str]:
        """Names of the direct sub-folders of a prefix, sorted."""
        check_prefix(prefix)
        rests = (key[len(prefix) :] for key in self._keys.copy() if key.startswith(prefix))
        return sorted(name for name in {rest.split("/", 1)[0] for rest in rests if "/" in rest} if name > after)

    def info(self, key: str) -> Info:
        """Size and time of one key."""
        data, modified = self._entry(key)
        return Info(key, len(data), modified)

    def local_path(self, key: str) -> Path | None:
        """Never a file."""
        check(key)
        return None

    def _entry(self, key: str) -> tuple[bytes, float]:
        try:
            return self._keys[check(key)]
        except KeyError:
            raise KeyNotFound(f"there is no {key} in {self.url}") from None
