"""The files below the project's root that a run reads, so that a replay can link them and say which of them changed.

Found by the audit hook (`audit`). What it does not see, such as ``pyarrow.parquet.read_table`` of a path or HDF5, which
open files in C, can be given to `InputFiles.note`. Left out: code (the snapshot has it), what lies in folders of tools
and environments, what the run wrote before it read it, and what Hindsight itself reads.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from tracker.record import audit
from tracker.store.documents import InputFile

MAX_FILES = 10_000
HASH_LIMIT_BYTES = 64 << 20
HASH_TOTAL_BYTES = 1 << 30
_MAX_WRITTEN = 100_000
_BLOCK_BYTES = 1 << 20

_CODE_SUFFIXES = (".py", ".pyc", ".pyi", ".pyo", ".pyd", ".so", ".pth")
_TOOL_FOLDERS = {".git", ".hg", ".svn", ".hindsight", ".ipynb_checkpoints", "__pycache__", "node_modules"}
_TOOL_FOLDERS |= {".venv", ".tox", ".nox", "site-packages", "dist-packages"}
_TOOL_FOLDERS |= {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
_TOOL_FOLDER_SUFFIXES = (".egg-info", ".dist-info")


class _State(NamedTuple):
    """What identifies the content of a file without reading it."""

    size_bytes: int
    modified_ns: int


class InputFiles:
    """Watches what this process reads below ``root``, from `start` to `stop`; all threads, no child processes.

    Memory is bounded: beyond ``max_files``, further reads are only counted, in `missed`. Files up to
    ``hash_limit_bytes`` (``hash_total_bytes`` in all) are hashed when they are collected. A file that has changed since
    it was first read is given with its size and time of then and without a digest. Nothing here ever fails an ``open``
    of the program.

    >>> with InputFiles(Path.cwd()) as inputs:
    ...     pass
    >>> inputs.collect()
    ()
    """

    def __init__(
        self,
        root: str | Path,
        *,
        exclude: Iterable[str | Path] = (),
        max_files: int = MAX_FILES,
        hash_limit_bytes: int = HASH_LIMIT_BYTES,
        hash_total_bytes: int = HASH_TOTAL_BYTES,
    ) -> None:
        self.missed = 0
        self._roots = tuple({os.path.join(path, "") for path in (os.path.abspath(root), os.path.realpath(root))})
        environments = [path for path in (sys.prefix, sys.base_prefix) if not self._is_above_root(path)]
        self._excluded = tuple(os.path.join(os.path.abspath(path), "") for path in (*exclude, *environments))
        self._max_files = max_files
        self._hash_limit_bytes = hash_limit_bytes
        self._hash_room_bytes = hash_total_bytes
        self._read: dict[str, _State] = {}  # by path relative to the root
        self._written: set[str] = set()
        self._digests: dict[str, str | None] = {}

    def start(self) -> Self:
        """Begin to watch."""
        audit.listen(self._noticed)
        return self

    def stop(self) -> None:
        """Watch no more; what was found stays."""
        audit.end(self._noticed)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def note(self, path: str | Path) -> None:
        """Take a file that the run reads, as if it had been noticed; for libraries that open files by themselves."""
        name = self._relative(os.fspath(path))
        if name is not None and name not in self._read and name not in self._written:
            self._take(name)

    def collect(self) -> tuple[InputFile, ...]:
        """The files read so far, sorted by path (relative to the root, with ``/``). Hashes each once; so it blocks."""
        return tuple(
            InputFile(
                path=name.replace(os.sep, "/"),
                size_bytes=state.size_bytes,
                modified=state.modified_ns / 1e9,
                digest=self._digest(name, state),
            )
            for name, state in sorted(self._read.copy().items())
        )

    def _noticed(self, path: str, reads: bool, writes: bool) -> None:
        name = self._relative(path)
        if name is None or name in self._read or name in self._written or audit.opened_by_us():
            return
        if reads:
            self._take(name)
        if writes and name not in self._read and len(self._written) < _MAX_WRITTEN:
            self._written.add(name)

    def _take(self, name: str) -> None:
        """Keep the state of a regular file that has content; an empty one is about to be filled as a rule."""
        state = _state(os.path.join(self._roots[0], name))
        if state is None or not state.size_bytes:
            return
        if len(self._read) < self._max_files:
            self._read.setdefault(name, state)
        else:
            self.missed += 1

    def _relative(self, path: str) -> str | None:
        """The path below the root where it may be an input, else ``None``."""
        if path.endswith(_CODE_SUFFIXES):
            return None
        if path[:1] != os.sep or "/." in path or "//" in path:
            path = os.path.abspath(path)
        for root in self._roots:
            if path.startswith(root):
                break
        else:
            return None
        if path.startswith(self._excluded):
            return None
        name = path[len(root) :]
        folders = name.split(os.sep)[:-1]
        if any(folder in _TOOL_FOLDERS or folder.endswith(_TOOL_FOLDER_SUFFIXES) for folder in folders):
            return None
        return name

    def _is_above_root(self, path: str) -> bool:
        return any(root.startswith(os.path.join(os.path.abspath(path), "")) for root in self._roots)

    def _digest(self, name: str, state: _State) -> str | None:
        if name not in self._digests:
            self._digests[name] = self._hash(name, state)
        return self._digests[name]

    def _hash(self, name: str, state: _State) -> str | None:
        path = os.path.join(self._roots[0], name)
        if state.size_bytes > min(self._hash_limit_bytes, self._hash_room_bytes) or _state(path) != state:
            return None
        self._hash_room_bytes -= state.size_bytes
        try:
            digest = _blake3(path, state.size_bytes)
        except OSError:
            return None
        return digest if _state(path) == state else None


def _state(path: str) -> _State | None:
    """Size and time of change of a regular file; ``None`` for anything else, and for what is not there."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return _State(info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else None


def _blake3(path: str, size_bytes: int) -> str:
    from blake3 import blake3

    hasher = blake3()
    with open(path, "rb") as file:
        while size_bytes > 0 and (block := file.read(min(_BLOCK_BYTES, size_bytes))):
            hasher.update(block)
            size_bytes -= len(block)
    return hasher.hexdigest()
