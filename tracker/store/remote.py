"""A store on a server: what all remote back ends share, over a small driver for each client library."""

from __future__ import annotations

import builtins
import io
import itertools
import math
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar, cast

from tracker.errors import BadKey, KeyExists, KeyNotFound, Unavailable
from tracker.store.base import Info, check_prefix, check_range
from tracker.store.keys import check, folder_of
from tracker.store.ranges import TAIL_BYTES, RangeReader
from tracker.store.retry import OPENING, RetryPolicy, persist

PIECE_KEYS = 50_000  # of a listing that are held in memory, some 15 MB

Result = TypeVar("Result")

_abandoned: list[object] = []  # drivers of a parent process; finalising them here would touch the parent's sockets


class Unsupported(Unavailable):
    """The server or library has no such operation."""


class Driver(Protocol):
    """One attempt at each operation, by one client library, in one process.

    A driver raises ``Transient`` for what may pass, the store's own errors for what will not, and checks nothing.
    """

    tokens: bool  # whether a put can carry a mark that ``token`` reads back
    resumes: bool  # whether a listing that begins behind a key costs no look at those before it

    def get(self, key: str) -> bytes: ...

    def get_range(self, key: str, start: int, length: int) -> bytes: ...

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """The last bytes of a key and its whole size."""

    def put(self, key: str, data: bytes | memoryview, *, only_new: bool, token: str) -> None: ...

    def delete(self, keys: builtins.list[str]) -> None: ...

    def list(self, prefix: str, after: str) -> Iterable[Info]: ...

    def folders(self, prefix: str, after: str) -> Iterable[str]: ...

    def info(self, key: str) -> Info: ...

    def token(self, key: str) -> str | None: ...


class RemoteStore:
    """Keys on a server, with retries; safe in threads, and a forked child makes a connection of its own."""

    def __init__(
        self,
        url: str,
        connect: Callable[[], Driver],
        *,
        address: str,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.url = url
        self.address = address
        self.conditional_put = False
        self.before_writing: Callable[[], None] | None = None  # what has to succeed once before anything is written
        self._policy = policy or RetryPolicy()
        self._effective = policy or OPENING
        self._connect = connect
        self._connected: tuple[int, Driver] | None = None

    def __repr__(self) -> str:
        return f"RemoteStore({self.url!r})"

    def settled(self, *, conditional_put: bool) -> RemoteStore:
        """This store once its format is known: with full patience, and atomic creates where the server has them."""
        self.conditional_put, self._effective, self.before_writing = conditional_put, self._policy, None
        return self

    def get(self, key: str) -> bytes:
        """All bytes of a key."""
        return self._try(f"reading {check(key)}", lambda: self._driver.get(key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start``; fewer, or none, at the end of the key."""
        check_range(check(key), start, length)
        if not length:
            self.info(key)
            return b""
        return self._try(f"reading {key}", lambda: self._driver.get_range(key, start, length))

    def open(self, key: str) -> BinaryIO:
        """A seekable reader that fetches the end at once (a Parquet footer) and the rest as it is read."""
        tail, size = self._try(f"opening {check(key)}", lambda: self._driver.get_tail(key, TAIL_BYTES))
        if len(tail) == size:
            return io.BytesIO(tail)
        reader = RangeReader(lambda start, length: self.get_range(key, start, length), tail=tail, size_bytes=size)
        return cast(BinaryIO, io.BufferedReader(reader, 1 << 18))

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace a key atomically; durable when this returns."""
        check(key)
        self._prepare()
        self._try(f"writing {key}", lambda: self._driver.put(key, data, only_new=False, token=""))

    def create(self, key: str, data: bytes | memoryview) -> None:
        """Write a new key, or raise ``KeyExists`` and change nothing.

        Atomic against other writers where ``conditional_put`` holds, else a check and then a put. Each create carries a
        token, so that one whose reply was lost recognises itself when it is repeated.
        """
        check(key)
        self._prepare()
        token, tries = secrets.token_hex(16), 0

        def attempt() -> None:
            nonlocal tries
            tries += 1
            try:
                self._create_once(key, data, token)
            except KeyExists:
                if not self._is_ours(key, data, token, tries):
                    raise

        self._try(f"creating {key}", attempt)

    def _create_once(self, key: str, data: bytes | memoryview, token: str) -> None:
        if not self.conditional_put and self._exists(key):
            raise KeyExists(f"{key} exists already in {self.url}; a key is created only once")
        self._driver.put(key, data, only_new=self.conditional_put, token=token)

    def _is_ours(self, key: str, data: bytes | memoryview, token: str, tries: int) -> bool:
        try:
            if self._driver.tokens:
                return self._driver.token(key) == token
            return tries > 1 and self._driver.get(key) == bytes(data)
        except KeyNotFound:
            return False

    def _exists(self, key: str) -> bool:
        try:
            self._driver.info(key)
        except KeyNotFound:
            return False
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Remove keys; those that are not there are not an error."""
        checked = [check(key) for key in keys]
        self._prepare()
        for start in range(0, len(checked), 1000):
            batch = checked[start : start + 1000]
            self._try(f"deleting {len(batch)} keys", lambda batch=batch: self._driver.delete(batch))  # type: ignore[misc]

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[Info]:
        """Every key below a prefix, sorted; names that cannot be keys are left out.

        Where the server sorts, some ``PIECE_KEYS`` of them are held in memory, and never less than a run; else all.
        """
        check_prefix(prefix)
        what, more = f"listing {prefix or 'the store'}", True
        while more:
            found, more = self._try(what, lambda after=after: self._piece(prefix, after))  # type: ignore[misc]
            yield from (info for info in found if _is_key(info.key))
            after = found[-1].key if found else after

    def _piece(self, prefix: str, after: str) -> tuple[builtins.list[Info], bool]:
        """The next keys, sorted, and whether there may be more of them behind these.

        A piece ends between two runs, folders of objects, or other names below the first folder: there are servers
        that sort by folders and not by keys, and these come in one order everywhere.
        """
        found: list[Info] = []
        wanted = PIECE_KEYS if self._driver.resumes else math.inf
        for info in self._driver.list(prefix, after):
            if info.key <= after:
                continue  # the server begins where it likes
            if len(found) >= wanted and folder_of(info.key) != folder_of(found[-1].key):
                if _is_sorted(found):
                    return found, True
                wanted = math.inf  # not every server that speaks S3 sorts
            found.append(info)
        return sorted(found, key=lambda info: info.key), False

    def folders(self, prefix: str = "", *, after: str = "") -> builtins.list[str]:
        """Names of the direct sub-folders of a prefix, sorted."""
        check_prefix(prefix)
        found = self._try(f"listing {prefix or 'the store'}", lambda: [*self._driver.folders(prefix, after)])
        return sorted(name for name in found if name > after and _is_key(prefix + name))

    def info(self, key: str) -> Info:
        """Size and time of one key."""
        return self._try(f"looking for {check(key)}", lambda: self._driver.info(key))

    def local_path(self, key: str) -> Path | None:
        """Never a file of this machine."""
        check(key)
        return None

    def probe(self) -> bool:
        """Whether the server refuses a second create-only put, found out by trying; leaves nothing behind."""
        key = f".probe/{secrets.token_hex(8)}"
        first, second = secrets.token_hex(16), secrets.token_hex(16)
        try:
            self._try("probing create-only puts", lambda: self._put_new(key, first))
            self._try("probing create-only puts", lambda: self._put_new(key, second))
        except Unsupported:
            return False
        except KeyExists:
            return self.get(key) == first.encode()
        finally:
            self.delete([key])
        return False

    def _put_new(self, key: str, token: str) -> None:
        try:
            self._driver.put(key, token.encode(), only_new=True, token=token)
        except KeyExists:
            if self._driver.get(key) != token.encode():  # else it is our own put, whose reply was lost
                raise

    def _prepare(self) -> None:
        if self.before_writing is not None:
            self.before_writing()

    @property
    def _driver(self) -> Driver:
        """The driver of this process; threads may race to make it, which costs one connection too many."""
        connected, pid = self._connected, os.getpid()
        if connected is None or connected[0] != pid:
            if connected is not None:
                _abandoned.append(connected)
            connected = self._connected = (pid, self._connect())
        return connected[1]

    def _try(self, what: str, operation: Callable[[], Result]) -> Result:
        fix = "check the address, the network and the credentials with `hindsight doctor`"
        return persist(operation, self._effective, what=f"{what} in {self.address}", fix=fix)


def _is_sorted(infos: builtins.list[Info]) -> bool:
    return all(first.key < second.key for first, second in itertools.pairwise(infos))


def _is_key(key: str) -> bool:
    try:
        return bool(check(key))
    except BadKey:
        return False
