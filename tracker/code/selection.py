"""Which files of a project belong into a snapshot, and why others stay out."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tracker.code.ignore import FILE_NAME, Patterns, decide, parse_patterns, read_patterns
from tracker.secrets import looks_secret, secret_paths

_CODE_SUFFIXES = frozenset(
    (".py", ".pyi", ".pyx", ".ipynb", ".toml", ".cfg", ".ini", ".yaml", ".yml", ".json", ".sh", ".txt", ".md", ".sql")
)
_LISTED = 500  # reasons that are kept one by one; the rest is counted


@dataclass(frozen=True, kw_only=True)
class SnapshotSettings:
    """What a snapshot takes. Patterns are those of ``.gitignore``, relative to the project's folder."""

    max_file_bytes: int = 10 << 20  # larger files stay out, unless git has them already
    max_new_bytes: int = 256 << 20  # all files that git does not have yet, together
    max_new_files: int = 20_000
    include: tuple[str, ...] = ()  # asked for, although large or like a secret
    exclude: tuple[str, ...] = ()


def with_exclusion(settings: SnapshotSettings, pattern: str) -> SnapshotSettings:
    """The settings with one more pattern that leaves paths out."""
    return replace(settings, exclude=(*settings.exclude, pattern))


@dataclass(frozen=True)
class Candidate:
    """A file that could go into a snapshot: its path below the top folder, and what ``lstat`` says of it."""

    path: str
    status: os.stat_result

    @property
    def size_bytes(self) -> int:
        return self.status.st_size

    @property
    def rank(self) -> tuple[bool, int, int, str]:
        """Code first, then shallow, then small: what is taken when not everything can be."""
        is_code = os.path.splitext(self.path)[1].lower() in _CODE_SUFFIXES
        return (not is_code, self.path.count("/"), self.size_bytes, self.path)


@dataclass(frozen=True)
class Rules:
    """The settings and ignore files in force for one work tree."""

    settings: SnapshotSettings
    patterns: Sequence[Patterns]

    def unwanted(self, paths: Collection[str]) -> dict[str, str]:
        """The paths that stay out by their names, with the reasons."""
        doubtful = paths if self.patterns else secret_paths(paths)
        return {path: reason for path in doubtful if (reason := self.reason(path)) is not None}

    def reason(self, path: str) -> str | None:
        """Why a file of this name stays out, whatever it holds; ``None`` when it does not."""
        verdict = decide(path, self.patterns) if self.patterns else None
        if verdict is True:
            return f"left out by {FILE_NAME} or the settings"
        if verdict is None and looks_secret(path):
            return "looks like a secret"
        return None

    def asked_for(self, path: str) -> bool:
        """Whether a line keeps the file although it is large or looks like a secret."""
        return bool(self.patterns) and decide(path, self.patterns) is False

    def obstacle(self, candidate: Candidate, top: Path) -> str | None:
        """Why this very file cannot or shall not be read."""
        mode = candidate.status.st_mode
        if stat.S_ISLNK(mode):
            return None
        if not stat.S_ISREG(mode):
            return "neither a file nor a link"
        if not os.access(os.path.join(top, candidate.path), os.R_OK):
            return "not readable"
        if candidate.size_bytes > self.settings.max_file_bytes and not self.asked_for(candidate.path):
            return f"{candidate.size_bytes:,} bytes are more than {self.settings.max_file_bytes:,}"
        return None


def read_rules(settings: SnapshotSettings, *, top: Path, project: Path) -> Rules:
    """The rules of a work tree: ``.hindsightignore`` of its top and of the project's folder, then the settings."""
    inner = os.path.relpath(project, top).replace(os.sep, "/")
    folder = "" if inner == "." else inner
    found = [read_patterns(top / FILE_NAME)]
    if folder and not folder.startswith(".."):
        found.append(read_patterns(project / FILE_NAME, folder=folder))
    asked = [*settings.exclude, *(f"!{pattern}" for pattern in settings.include)]
    found.append(parse_patterns("\n".join(asked), folder=folder))
    return Rules(settings, [patterns for patterns in found if patterns])


def choose(candidates: Iterable[Candidate], rules: Rules, *, top: Path, left_out: dict[str, str]) -> list[Candidate]:
    """The candidates that go in; the others are entered into ``left_out`` with the reason.

    When there is more than the settings allow, code goes before data, shallow before deep, small before large.
    """
    fitting = []
    for candidate in candidates:
        reason = rules.reason(candidate.path) or rules.obstacle(candidate, top)
        if reason is None:
            fitting.append(candidate)
        else:
            left_out[candidate.path] = reason
    settings = rules.settings
    if len(fitting) <= settings.max_new_files and sum(each.size_bytes for each in fitting) <= settings.max_new_bytes:
        return fitting
    return _within_budget(fitting, settings, left_out)


def _within_budget(fitting: list[Candidate], settings: SnapshotSettings, left_out: dict[str, str]) -> list[Candidate]:
    taken: list[Candidate] = []
    total = 0
    for candidate in sorted(fitting, key=lambda each: each.rank):
        if len(taken) >= settings.max_new_files:
            left_out[candidate.path] = f"beyond {settings.max_new_files:,} new files"
        elif total + candidate.size_bytes > settings.max_new_bytes:
            left_out[candidate.path] = f"beyond {settings.max_new_bytes:,} bytes of new files"
        else:
            taken.append(candidate)
            total += candidate.size_bytes
    return taken


def show_path(path: str) -> str:
    """A path as JSON and people can take it: bytes that are not UTF-8 are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def shorten(left_out: dict[str, str]) -> dict[str, str]:
    """The list for the document: readable paths, bounded, the rest counted by reason under ``…``."""
    shown = {show_path(path): reason for path, reason in list(left_out.items())[:_LISTED]}
    if len(left_out) > _LISTED:
        shown["…"] = f"and {len(left_out) - _LISTED:,} more"
    return shown
