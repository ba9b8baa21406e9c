"""Bringing paths into our private index, also when one of them cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from tracker.code.git import Git
from tracker.code.listing import GITLINK
from tracker.errors import CodeError

_POINTER = b"version https://git-lfs.github.com/spec/v1\n"


def add(git: Git, paths: list[str]) -> dict[str, str]:
    """Take the present content of the paths into the index; returns the paths that git refused, with its reason.

    One bad path fails a whole command, so a failing list is halved until the bad ones stand alone.
    """
    if not paths:
        return {}
    try:
        git.run("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin=join(paths))
    except CodeError as exc:
        if len(paths) == 1:
            return {paths[0]: f"git could not read it: {str(exc)[-200:]}"}
        middle = len(paths) // 2
        return {**add(git, paths[:middle]), **add(git, paths[middle:])}
    return {}


def remove(git: Git, paths: Iterable[str]) -> None:
    """Take the paths out of the index, whatever stands in the work tree."""
    unique = dict.fromkeys(paths)
    if unique:
        git.run("update-index", "--force-remove", "-z", "--stdin", stdin=join(unique))


def link(git: Git, commits: Mapping[str, str]) -> None:
    """Let each path stand for a repository of its own at that commit."""
    if commits:
        lines = (f"{GITLINK} {commit}\t{path}" for path, commit in commits.items())
        git.run("update-index", "--add", "--replace", "-z", "--index-info", stdin=join(lines))


def large_file_pointers(git: Git, objects: Mapping[str, str]) -> set[str]:
    """Those of the paths whose object in the index is a Git LFS pointer."""
    return {path for path, content in read_small(git, objects).items() if content.startswith(_POINTER)}


def read_small(git: Git, objects: Mapping[str, str], *, limit_bytes: int = 1024) -> dict[str, bytes]:
    """The content of those objects that are small and present, by path."""
    sizes = _sizes(git, objects.values())
    small = {path: name for path, name in objects.items() if 0 <= sizes.get(name, -1) <= limit_bytes}
    if not small:
        return {}
    output = git.run("cat-file", "--batch", stdin="".join(f"{name}\n" for name in small.values()).encode())
    found, at = {}, 0
    for path in small:
        end = output.index(b"\n", at)
        size = int(output[at:end].split()[2])
        found[path] = output[end + 1 : end + 1 + size]
        at = end + size + 2
    return found


def absent_objects(git: Git, objects: Mapping[str, str]) -> set[str]:
    """Those of the paths whose object is not here, as in a partial clone."""
    sizes = _sizes(git, objects.values())
    return {path for path, name in objects.items() if name not in sizes}


def _sizes(git: Git, names: Iterable[str]) -> dict[str, int]:
    unique = dict.fromkeys(names)
    if not unique:
        return {}
    output = git.run("cat-file", "--batch-check", stdin="".join(f"{name}\n" for name in unique).encode()).decode()
    rows = (line.split() for line in output.splitlines())
    return {row[0]: int(row[2]) for row in rows if len(row) == 3 and row[2].isdigit()}


def join(paths: Iterable[str]) -> bytes:
    """Paths as git's ``-z`` input."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)
