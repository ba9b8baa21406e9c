"""Snapshots of folders without git: each file an object of the store, and one document that lists them."""

from __future__ import annotations

import base64
import contextlib
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from blake3 import blake3

from tracker.code.ignore import Patterns, decide, read_patterns
from tracker.code.selection import Candidate, Rules, SnapshotSettings, choose, read_rules
from tracker.errors import KeyExists, KeyNotFound
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import CodeFile, Snapshot, encode
from tracker.store.holds import holding
from tracker.store.objects import put_object

_PREFIX = "files-"
_MAX_VISITED = 50_000  # entries that are looked at, nearest first: a script may lie in a home folder
_SKIPPED = frozenset(
    (".git", ".hg", ".svn", ".hindsight", "__pycache__", "node_modules", ".ipynb_checkpoints", ".venv", ".tox", ".nox")
)
_MAX_BYTES = 64 << 20
_WRITERS = 8


@dataclass
class CapturedFiles:
    """The files of a folder, read and hashed."""

    snapshot: str
    files: tuple[CodeFile, ...]
    contents: dict[str, bytes]
    left_out: dict[str, str]


@dataclass
class _Walk:
    candidates: list[Candidate] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    visited: int = 0


def capture_files(root: Path, settings: SnapshotSettings) -> CapturedFiles:
    """Read the files of a folder, by the rules that hold for repositories: ignore files, sizes, secrets.

    Without git there is no telling what is the project's, so the walk is bounded and takes what is nearest first.
    """
    rules = read_rules(settings, top=root, project=root)
    walk = _Walk()
    for candidate in _walk(root, rules, walk):
        walk.candidates.append(candidate)
    left_out = walk.left_out
    contents: dict[str, bytes] = {}
    files = []
    # The contents are held in memory until they are in the store.
    rules = replace(rules, settings=replace(settings, max_new_bytes=min(settings.max_new_bytes, _MAX_BYTES)))
    for candidate in choose(walk.candidates, rules, top=root, left_out=left_out):
        try:
            content = _read(root, candidate)
        except OSError as exc:
            left_out[candidate.path] = f"not readable: {exc.strerror}"
            continue
        described = _describe(candidate, content)
        contents[described.digest] = content
        files.append(described)
    files.sort(key=lambda each: (each.path, each.is_base64))
    return CapturedFiles(_name(files), tuple(files), contents, left_out)


def ship_files(store: Store, captured: CapturedFiles) -> bool:
    """Put the files and then their list into a store; what is there is not sent again. Whether the list was not."""
    key = keys.code_document(captured.snapshot)
    if _has(store, key):
        return False
    document = Snapshot(
        snapshot=captured.snapshot,
        kind="files",
        created=time.time(),
        size_bytes=sum(each.size_bytes for each in captured.files),
        files=captured.files,
    )
    with holding(store, map(keys.object_key, captured.contents)):
        _put_objects(store, captured.contents)
        with contextlib.suppress(KeyExists):  # the same files, from another run
            store.create(key, encode(document))
    return True


def decode_path(file: CodeFile) -> str:
    """The path of a file as the file system has it; odd bytes as surrogates."""
    return os.fsdecode(base64.b64decode(file.path)) if file.is_base64 else file.path


def _walk(root: Path, rules: Rules, walk: _Walk) -> Iterator[Candidate]:
    waiting: deque[tuple[str, tuple[Patterns, ...]]] = deque([("", ())])
    while waiting:
        folder, above = waiting.popleft()
        own = read_patterns(root / folder / ".gitignore", folder=folder)
        ignore = (*above, own) if own else above
        for entry in _entries(root / folder, walk, folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            walk.visited += 1
            if walk.visited > _MAX_VISITED:
                walk.left_out["…"] = f"not looked at: more than {_MAX_VISITED:,} entries below {root}"
                return
            is_folder = entry.is_dir(follow_symlinks=False)
            if decide(path, (*ignore, *rules.patterns), is_folder=is_folder) is True:
                continue
            if not is_folder:
                yield Candidate(path, entry.stat(follow_symlinks=False))
            elif entry.name not in _SKIPPED and not os.path.lexists(os.path.join(entry.path, "pyvenv.cfg")):
                waiting.append((path, ignore))


def _entries(folder: Path, walk: _Walk, name: str) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as exc:
        walk.left_out[f"{name}/"] = f"not readable: {exc.strerror}"
        return ()


def _read(root: Path, candidate: Candidate) -> bytes:
    path = root / candidate.path
    if stat.S_ISLNK(candidate.status.st_mode):
        return os.fsencode(os.readlink(path))
    with open(path, "rb") as file:
        return file.read()


def _describe(candidate: Candidate, content: bytes) -> CodeFile:
    mode = candidate.status.st_mode
    described = CodeFile(
        path=candidate.path,
        digest=blake3(content).hexdigest(),
        size_bytes=len(content),
        kind="link" if stat.S_ISLNK(mode) else ("executable" if mode & 0o100 else "file"),
    )
    try:
        candidate.path.encode()
    except UnicodeEncodeError:
        encoded = base64.b64encode(os.fsencode(candidate.path)).decode()
        described = _with_path(described, encoded)
    return described


def _with_path(file: CodeFile, encoded: str) -> CodeFile:
    return CodeFile(path=encoded, digest=file.digest, size_bytes=file.size_bytes, kind=file.kind, is_base64=True)


def _name(files: list[CodeFile]) -> str:
    lines = (f"{each.kind} {each.digest} {os.fsencode(decode_path(each)).hex()}\n" for each in files)
    return f"{_PREFIX}{blake3(''.join(lines).encode()).hexdigest()}"


def _put_objects(store: Store, contents: dict[str, bytes]) -> None:
    """Put many objects, on several threads where the interpreter still lets us start any.

    At the end of a short script it does not; the calling thread then does all of the work.
    """
    waiting = deque(contents.values())
    failures: list[BaseException] = []

    def work() -> None:
        while waiting and not failures:
            try:
                put_object(store, waiting.popleft())
            except IndexError:
                return  # another thread took the last one
            except BaseException as exc:  # noqa: BLE001  raised again below, on the calling thread
                failures.append(exc)

    helpers = []
    for _ in range(min(_WRITERS, len(contents)) - 1):
        helper = threading.Thread(target=work, name="hindsight-code", daemon=True)
        try:
            helper.start()
        except RuntimeError:
            break
        helpers.append(helper)
    work()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]


def _has(store: Store, key: str) -> bool:
    try:
        store.info(key)
    except KeyNotFound:
        return False
    return True
