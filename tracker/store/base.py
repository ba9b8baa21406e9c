"""What a store can do: the verbs that every back end has, in this order."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from tracker.errors import BadKey, InputError, KeyNotFound
from tracker.store import keys


@dataclass(frozen=True, slots=True)
class Info:
    """One key with its size in bytes and, where the back end knows them, its time of change (Unix seconds) and what the
    server calls its bytes: mostly their MD5 in hex; equal bytes may have another name, other bytes never the same.
    """

    key: str
    size_bytes: int
    modified: float | None = None
    etag: str = ""


@runtime_checkable
class Store(Protocol):
    """Where bytes live. Keys are relative and checked (``keys.check``); every verb is safe in threads and after a fork.

    Errors: ``KeyNotFound``, ``KeyExists``, ``StoreUnavailable`` (after the back end's own retries), ``StoreFull``,
    ``StoreReadOnly``, ``BadKey``.
    """

    url: str  # without credentials; what people see

    def get(self, key: str) -> bytes:
        """All bytes of a key."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start``."""

    def open(self, key: str) -> BinaryIO:
        """A seekable reader, for Parquet; close it."""

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace a key atomically; durable when this returns."""

    def create(self, key: str, data: bytes | memoryview) -> None:
        """Write a new key, or raise ``KeyExists`` and change nothing.

        Atomic against other writers where the store has conditional puts (``conditional_put``); elsewhere a check and
        then a put.
        A retry after a lost reply recognises its own bytes and succeeds.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Remove keys; those that are not there are not an error."""

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[Info]:
        """Every key below a prefix that ends with ``/`` (or all), sorted by key; an absent prefix has none.

        With ``after`` only keys behind that one. What is listed is not held in memory as a whole, where the back end
        can help it.
        """

    def folders(self, prefix: str = "", *, after: str = "") -> builtins.list[str]:
        """Names of the direct sub-folders of a prefix, sorted; a local one may be named although empty.

        With ``after`` only names behind that one; servers that can begin a listing there send no others.
        """

    def info(self, key: str) -> Info:
        """Size and time of one key."""

    def local_path(self, key: str) -> Path | None:
        """The file behind a key, for stores in the file system of this machine; else ``None``."""

    @property
    def conditional_put(self) -> bool:
        """Whether ``create`` is atomic against other writers; probed when the store was created."""


def check_prefix(prefix: str) -> str:
    """The prefix, when ``list`` and ``folders`` take it: empty, or a key with ``/`` behind it; else ``BadKey``."""
    if prefix and not prefix.endswith("/"):
        raise BadKey(f"{prefix!r} is not a prefix: expected a text that ends with '/', or an empty one")
    if prefix:
        keys.check(prefix[:-1])
    return prefix


def check_range(key: str, start: int, length: int) -> None:
    """Refuse a range that no bytes can have."""
    if start < 0 or length < 0:
        raise InputError(f"{length} bytes from {start} of {key} cannot be read: expected numbers from 0")


def address_of(store: Store) -> str:
    """What tells a store from every other: its URL and, for one on a server, which server that is."""
    return str(getattr(store, "address", store.url))


def has(store: Store, key: str) -> bool:
    """Whether a store has a key; one request."""
    try:
        store.info(key)
    except KeyNotFound:
        return False
    return True
