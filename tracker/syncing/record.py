"""What was synchronised between two stores before: a file of this machine that may be lost at any time.

It spares looking: what the source showed then and shows now is not compared with the target again. Without it, or with
``full=True``, everything is compared, and nothing is copied that is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
from blake3 import blake3

from tracker.store import durable
from tracker.store.base import Info

_VERSION = 1


class UnitRecord(msgspec.Struct, array_like=True):
    """A folder of the source as it was when it was brought over; ``seen`` only for what still grows."""

    digest: bytes = b""
    seen: dict[str, bytes] = {}  # key -> fingerprint
    sealed: dict[str, int] = {}  # open journal -> slots of it that were published
    published: tuple[str, ...] = ()  # segments made from open journals, which longer ones will cover
    live: bool = False  # a run that was going on


class Record(msgspec.Struct):
    """Everything that is remembered of two stores."""

    version: int = _VERSION
    pair: str = ""
    units: dict[str, UnitRecord] = {}
    flat: dict[str, bytes] = {}  # keys that stand in no run's folder -> fingerprint


def fingerprint(info: Info) -> bytes:
    """What tells one state of a key from another; empty when the store does not tell times."""
    return b"" if info.modified is None else blake3(f"{info.size_bytes} {info.modified!r}".encode()).digest(8)


def digest(infos: Iterable[Info]) -> bytes:
    """What tells one state of a folder from another; empty when the store does not tell times."""
    hasher = blake3()
    for info in infos:
        if info.modified is None:
            return b""
        hasher.update(f"{info.key}\0{info.size_bytes}\0{info.modified!r}\n".encode())
    return hasher.digest(16)


def record_folder() -> Path:
    """Where records lie: ``hindsight/sync`` in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path("~/.cache").expanduser()) / "hindsight" / "sync"


class RecordFile:
    """The record of one pair of stores. What cannot be read or written is as if it had never been there."""

    def __init__(self, folder: Path | None, pair: str) -> None:
        self.path = None if folder is None else folder / f"{blake3(pair.encode()).hexdigest()[:32]}.msgpack"
        self._pair = pair
        self._there = b""

    def load(self) -> Record:
        """What is remembered; nothing when there is no record, or one of another version or pair."""
        if self.path is not None:
            with suppress(OSError, msgspec.MsgspecError, RuntimeError):
                self._there = self.path.read_bytes()
                found = msgspec.msgpack.decode(self._there, type=Record)
                if (found.version, found.pair) == (_VERSION, self._pair):
                    return found
        return Record(pair=self._pair)

    def save(self, record: Record) -> None:
        """Replace the record atomically; of two at once the later one stays."""
        data = msgspec.msgpack.encode(record)
        if self.path is not None and data != self._there:
            with suppress(OSError):
                durable.write(self.path, data)
                self._there = data
