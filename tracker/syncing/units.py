"""The source as a series of folders, one for each run or replay, and what the target has of them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from blake3 import blake3

from tracker.store.base import Info, Store
from tracker.store.ids import is_id
from tracker.syncing.record import digest

_FEW_UNITS = 50  # that are asked for one by one
_UNITS_ON_A_PAGE = 50  # of a listing, as a rule
_MOST_UNITS = 20_000  # whose keys memory should hold
_JOURNAL = ".journal"


@dataclass
class Unit:
    """A folder ``runs/<id>/`` or ``replays/<id>/`` of the source: its state, and its keys once they are listed.

    ``state`` is empty when the folder can change without showing it, as one with an open journal does.
    """

    prefix: str
    state: bytes
    infos: list[Info] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.prefix.split("/")[1]

    @property
    def has_journals(self) -> bool:
        return any(info.key.endswith(_JOURNAL) for info in self.infos)


def list_units(store: Store, folder: str, only: Iterable[str] | None = None) -> Iterator[Unit]:
    """The units below ``runs/`` or ``replays/`` with their keys, one after the other."""
    prefixes = [folder] if only is None else [f"{folder}{name}/" for name in sorted(set(only))]
    for prefix in prefixes:
        for name, group in groupby(store.list(prefix), key=lambda info: info.key.split("/")[1]):
            if is_id(name):
                infos = list(group)
                is_open = any(info.key.endswith(_JOURNAL) for info in infos)
                yield Unit(f"{folder}{name}/", b"" if is_open else digest(infos), infos)


def survey(store: Store, folder: str, only: Iterable[str] | None = None) -> Iterator[Unit]:
    """The units below a folder with their states; of a local store without their keys, which are listed when needed.

    A store may have more runs than memory should hold, and looking whether one changed should cost next to nothing.
    """
    root = store.local_path(folder.rstrip("/"))
    if root is None:
        yield from list_units(store, folder, only)
        return
    names = sorted(name for name in store.folders(folder) if is_id(name) and (only is None or name in only))
    for name in names:
        if (state := _state_of(root / name)) is not None:
            yield Unit(f"{folder}{name}/", state)


def _state_of(root: Path) -> bytes | None:
    """What tells one state of a folder of files from another; ``None`` when there are none."""
    lines: list[str] = []
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.name.endswith(_JOURNAL):
                    return b""
                elif entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    lines.append(f"{entry.path}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ino}")
    return blake3("\n".join(sorted(lines)).encode(errors="surrogateescape")).digest(16) if lines else None


class There:
    """What the target has of some units: asked for each, or listed at once where that takes fewer requests."""

    def __init__(self, target: Store, folder: str, prefixes: Collection[str]) -> None:
        self._target = target
        self._names: set[str] | None = None
        self._listed: dict[str, dict[str, int]] | None = None
        if len(prefixes) <= _FEW_UNITS:
            return
        self._names = {f"{folder}{name}/" for name in target.folders(folder)}
        known = sum(prefix in self._names for prefix in prefixes)
        pages = len(self._names) / _UNITS_ON_A_PAGE
        if known > max(_FEW_UNITS, pages) and len(self._names) < _MOST_UNITS and target.local_path(folder[:-1]) is None:
            self._listed = defaultdict(dict)
            for info in target.list(folder):
                self._listed["/".join(info.key.split("/", 2)[:2]) + "/"][info.key] = info.size_bytes

    def of(self, prefix: str) -> dict[str, int]:
        """The keys of a unit, by size."""
        if self._names is not None and prefix not in self._names:
            return {}
        if self._listed is not None:
            return self._listed.get(prefix, {})
        return {info.key: info.size_bytes for info in self._target.list(prefix)}
