"""A git folder of our own around the user's work tree and objects, so that nothing of theirs is written or executed.

It has its own index (a copy, so that git's cache of file times is used), its own configuration with only those of the
user's settings that say how files become blobs, attributes that switch external filters off, no hooks, remotes, refs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tracker.code.git import Git
from tracker.code.repository import Repository

# How bytes in the work tree become blobs, and with which permissions objects are written. Everything else stays behind.
_KEPT_SETTINGS = (
    "core.filemode",
    "core.symlinks",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.autocrlf",
    "core.eol",
    "core.checkroundtripencoding",
    "core.excludesfile",
    "core.checkstat",
    "core.trustctime",
    "core.sharedrepository",
    "core.bigfilethreshold",
)
NO_FILTERS = "* -filter\n"


@dataclass(frozen=True)
class Scratch:
    """A private git folder; ``git`` runs commands that see the work tree through it."""

    folder: Path
    git: Git
    objects: Path  # where new objects go: the user's object folder, or one in here when that must not be written


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end.

    Not ``TemporaryDirectory``: that one is also removed when the interpreter begins to exit, which for a short script
    is while its snapshot is being taken.
    """
    folder = Path(tempfile.mkdtemp(prefix="hindsight-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_repository(repository: Repository) -> Iterator[Scratch]:
    """A private git folder for a work tree, removed at the end together with objects that could not go elsewhere."""
    with temporary_folder() as folder:
        _lay_out(folder, repository)
        objects, alternates = repository.objects, ""
        if not repository.is_writable:
            objects, alternates = folder / "objects", os.fspath(repository.objects)
        environment = {
            "GIT_DIR": os.fspath(folder),
            "GIT_WORK_TREE": os.fspath(repository.top),
            "GIT_INDEX_FILE": os.fspath(folder / "index"),
            "GIT_OBJECT_DIRECTORY": os.fspath(objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quote_path(alternates),
        }
        yield Scratch(folder, Git(repository.top, environment), objects)


def _lay_out(folder: Path, repository: Repository) -> None:
    for name in ("refs", "objects", "info"):
        (folder / name).mkdir()
    (folder / "HEAD").write_text("ref: refs/heads/none\n", encoding="utf-8")
    (folder / "config").write_bytes(_configuration(repository))
    (folder / "info" / "attributes").write_text(NO_FILTERS, encoding="utf-8")
    _copy(repository.common_folder / "info" / "exclude", folder / "info" / "exclude")
    _copy(repository.index, folder / "index")
    for shared in repository.git_folder.glob("sharedindex.*"):
        _copy(shared, folder / shared.name)


def _configuration(repository: Repository) -> bytes:
    version = 0 if repository.object_format == "sha1" else 1
    lines = ["[core]", f"repositoryformatversion = {version}", "bare = false"]
    config = repository.config
    lines += [f"{key.removeprefix('core.')} = {_quote_value(config[key])}" for key in _KEPT_SETTINGS if key in config]
    if version:
        lines += ["[extensions]", f"objectformat = {repository.object_format}"]
    return os.fsencode("\n".join(lines) + "\n")


def _quote_value(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _quote_path(path: str) -> str:
    """A path for git's list of alternates, where a colon separates and quotes protect."""
    return _quote_value(path) if any(letter in path for letter in ':"\\\n') else path


def _copy(source: Path, target: Path) -> None:
    """Copy bytes and times: git takes a file for unchanged when it is older than the index that lists it."""
    try:
        shutil.copyfile(source, target)
        times = source.stat()
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    except OSError:
        target.unlink(missing_ok=True)  # absent or unreadable; git then looks at every file afresh
