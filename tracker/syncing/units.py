"""The source as a series of folders, one for each run or replay, and what the target has of them."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path

from blake3 import blake3

from tracker.store.base import Info, Store
from tracker.store.ids import is_id
from tracker.store.keys import folder_of
from tracker.syncing.record import digest

_FEW_UNITS = 50  # that are asked for one by one
_UNITS_ON_A_PAGE = 50  # of a listing, as a rule
WINDOW_UNITS, WINDOW_KEYS = 2_000, 50_000  # that are held in memory at a time
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


def windows(units: Iterable[Unit]) -> Iterator[list[Unit]]:
    """Units in groups that are held in memory with their keys, and looked for in the target together."""
    window: list[Unit] = []
    size = 0
    for unit in units:
        window.append(unit)
        size += len(unit.infos)
        if len(window) >= WINDOW_UNITS or size >= WINDOW_KEYS:
            yield window
            window, size = [], 0
    if window:
        yield window


class There:
    """What the target has of a window of units: asked for each, or listed at once where that takes fewer requests."""

    def __init__(self, target: Store, folder: str) -> None:
        self._target, self._folder = target, folder
        self._names: list[str] | None = None  # of all units of the target, sorted; for more than a few
        self._known: set[str] | None = None  # the units of this window that the target has
        self._listed: dict[str, dict[str, Info]] = {}
        self._stream: Iterator[tuple[str, Iterator[Info]]] | None = None  # behind the window before

    def look_for(self, prefixes: Sequence[str]) -> None:
        """The next window: units in the order of their names, all behind those of the windows before."""
        self._known, self._listed = None, {}
        if len(prefixes) <= _FEW_UNITS:
            return
        if self._names is None:
            self._names = sorted(f"{self._folder}{name}/" for name in self._target.folders(self._folder))
        between = self._names[bisect_left(self._names, prefixes[0]) : bisect_right(self._names, prefixes[-1])]
        self._known = set(prefixes).intersection(between)
        is_remote = self._target.local_path(self._folder[:-1]) is None
        if is_remote and len(self._known) > max(_FEW_UNITS, len(between) / _UNITS_ON_A_PAGE):
            self._list(prefixes[0], prefixes[-1], self._known)
        else:
            self._stream = None

    def _list(self, first: str, last: str, wanted: Collection[str]) -> None:
        """List these; those of which memory should not hold the keys are left to be asked for."""
        size = 0
        if self._stream is None:
            self._stream = groupby(self._target.list(self._folder, after=first), key=lambda info: folder_of(info.key))
        for prefix, infos in self._stream:
            if prefix > last:  # belongs to the next window
                self._stream = chain([(prefix, iter(list(infos)))], self._stream)
                break
            if prefix in wanted:
                self._listed[prefix] = {info.key: info for info in infos}
                size += len(self._listed[prefix])
            if size >= WINDOW_KEYS:
                self._stream = None
                break

    def of(self, prefix: str) -> dict[str, Info]:
        """The keys of a unit."""
        if self._known is not None and prefix not in self._known:
            return {}
        if prefix in self._listed:
            return self._listed[prefix]
        return {info.key: info for info in self._target.list(prefix)}
