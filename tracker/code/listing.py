"""What stands in a work tree, as two ``git ls-files`` beside each other tell it.

The one that looks at every file takes three times as long as the one that only reads the index, so what the names alone
decide is decided meanwhile.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from tracker.code.git import Git, Running
from tracker.code.selection import Candidate

GITLINK = "160000"
_TRACKED = ("ls-files", "-z", "-v", "--stage")
_CHANGES = ("ls-files", "-z", "-t", "--modified", "--deleted", "--others", "--exclude-standard")
# A file or link that is neither in conflict nor hidden from git: nearly all, in a large work tree.
_PLAIN = re.compile(r"(?<![^\0])H 1[02]\d{4} ([0-9a-f]+) 0\t([^\0]*)\0")


@dataclass
class Listing:
    """The paths of a work tree by what has to be done with them; paths are text with surrogates for odd bytes."""

    tracked: dict[str, str] = field(default_factory=dict)  # path -> object; the changed and removed ones are among them
    changed: dict[str, str] = field(default_factory=dict)  # with other content, or in conflict
    removed: list[str] = field(default_factory=list)
    pinned: list[str] = field(default_factory=list)  # git was told to take these for unchanged, or not to look
    new: list[str] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)  # path -> commit in the index, "" for a nested repository

    @property
    def differs(self) -> bool:
        """Whether the files differ from the index, or files stand beside it."""
        return bool(self.changed or self.removed or self.new)


def start_changes(git: Git) -> Running:
    """Begin to look for changed, removed and new files."""
    return git.start(*_CHANGES)


def list_tracked(git: Git) -> Listing:
    """What the index says, before any file was looked at."""
    text = os.fsdecode(git.run(*_TRACKED))
    listing = Listing(tracked={path: digest for digest, path in _PLAIN.findall(text)})
    if text.count("\0") > len(listing.tracked):
        for entry in filter(None, _PLAIN.sub("", text).split("\0")):
            details, _, path = entry.partition("\t")
            _enter_tracked(listing, details, path)
    return listing


def _enter_tracked(listing: Listing, details: str, path: str) -> None:
    _, mode, digest, stage = details.split(" ")
    if mode == GITLINK:
        listing.modules[path] = digest
    elif stage != "0":
        listing.changed[path] = digest  # in conflict
    else:
        listing.tracked[path] = digest
        listing.pinned.append(path)


def finish_changes(listing: Listing, running: Running) -> None:
    """Enter what has changed since the index was written."""
    for entry in os.fsdecode(running.finish()).split("\0"):
        tag, path = entry[:1], entry[2:]
        if tag == "?" and path.endswith("/"):
            listing.modules.setdefault(path.rstrip("/"), "")
        elif tag == "?":
            listing.new.append(path)
        elif tag == "R":
            listing.removed.append(path)
        elif tag and path not in listing.modules:
            listing.changed[path] = listing.tracked.get(path, "")


def look_at(top: Path, paths: list[str]) -> tuple[list[Candidate], list[str]]:
    """The files behind some paths, and the paths where nothing stands that could be tracked."""
    found, absent = [], []
    for path in paths:
        try:
            status = os.lstat(os.path.join(top, path))
        except OSError:
            absent.append(path)
            continue
        if stat.S_ISDIR(status.st_mode):
            absent.append(path)
        else:
            found.append(Candidate(path, status))
    return found, absent
