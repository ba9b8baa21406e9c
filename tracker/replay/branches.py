"""The Python files of a branch, from a repository on this machine or elsewhere, without any work tree."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tracker.code.git import Git, login_environment
from tracker.code.repository import find_repository, open_repository
from tracker.errors import CodeError, InputError
from tracker.replay.sources import MAX_BYTES, SUFFIXES
from tracker.secrets import mask_url

_FILES = ("100644", "100755")


@dataclass(frozen=True)
class BranchFiles:
    """``repository`` is its address without credentials, the same for every clone of it."""

    repository: str
    branch: str
    commit: str
    sources: dict[str, str]


def branch_files(repository: str | os.PathLike[str], branch: str) -> BranchFiles:
    """The files at the tip of a branch; nothing is written to the repository, and nothing is executed.

    ``repository`` is a folder (a work tree or a bare repository; its branches are taken as they are, nothing is
    fetched) or an address, of which a shallow copy is made for as long as this takes. ``InputError`` where there is no
    such repository or branch, ``CodeError`` with git's words for what else keeps it from being read.
    """
    text = os.fspath(repository)
    if not text or not branch or branch.startswith("-"):
        raise InputError(
            f"repository {mask_url(text)!r} and branch {branch!r}: expected a folder or address, and a name"
        )
    with _opened(text, branch) as (git, address):
        commit = _tip(git, branch, address)
        return BranchFiles(repository=address, branch=branch, commit=commit, sources=dict(_read(git, commit)))


@contextmanager
def _opened(text: str, branch: str) -> Iterator[tuple[Git, str]]:
    folder = Path(text).expanduser()
    if folder.is_dir():
        found = open_repository(folder, folder) if (folder / "objects").is_dir() else find_repository(folder.resolve())
        if found is None:
            raise InputError(f"{folder} is no git repository: expected a work tree, a bare repository or an address")
        yield found.git, found.remote or str(found.common_folder)
        return
    if "://" not in text and ":" not in text:
        raise InputError(f"there is no folder {text}: expected a git repository, or an address such as https://…")
    with tempfile.TemporaryDirectory(prefix="hindsight-branch-") as place:
        git = Git(Path(place), login_environment())
        git.run(
            "clone", "--quiet", "--bare", "--depth=1", "--single-branch", "--branch", branch, "--", text, "copy.git"
        )
        copy = Path(place) / "copy.git"
        yield Git(copy, {"GIT_DIR": str(copy)}), mask_url(text)


def _tip(git: Git, branch: str, address: str) -> str:
    for name in (f"refs/heads/{branch}", f"refs/remotes/{branch}", f"refs/remotes/origin/{branch}"):
        try:
            return git.text("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except CodeError:
            continue
    raise InputError(f"{address} has no branch {branch!r}")


def _read(git: Git, commit: str) -> Iterator[tuple[str, str]]:
    """The files that are Python in UTF-8; links and what is too long to be written by hand are left out."""
    listed = os.fsdecode(git.run("ls-tree", "-r", "-z", "--long", "--full-tree", commit)).split("\0")
    rows = [(details.split(), path) for details, _, path in (entry.partition("\t") for entry in listed if entry)]
    wanted = [
        (details[2], path)
        for details, path in rows
        if details[0] in _FILES and path.endswith(SUFFIXES) and int(details[3]) <= MAX_BYTES
    ]
    output = git.run("cat-file", "--batch", stdin="".join(f"{name}\n" for name, _ in wanted).encode())
    at = 0
    for name, path in wanted:
        end = output.index(b"\n", at)
        header = output[at:end].split()
        if len(header) != 3:
            raise CodeError(f"commit {commit} lacks the content of {path!r}, object {name}")
        content = output[end + 1 : end + 1 + int(header[2])]
        at = end + int(header[2]) + 2
        try:
            yield path, content.decode("utf-8")
        except UnicodeDecodeError:
            continue
