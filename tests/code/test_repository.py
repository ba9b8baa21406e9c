"""What git keeps about a repository is read from its files, wherever they lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tracker.code.repository import find_repository

if TYPE_CHECKING:
    from conftest import Repo


@pytest.mark.parametrize("packed", [False, True])
def test_head_and_branch(repo: Repo, packed: bool) -> None:
    """HEAD is resolved from loose and from packed refs, on branches with slashes too."""
    repo.git("checkout", "-q", "-b", "feature/x")
    if packed:
        repo.git("pack-refs", "--all")

    found = find_repository(repo.folder / "src")

    assert found is not None
    assert (found.top, found.branch, found.head) == (repo.folder, "feature/x", repo.git("rev-parse", "HEAD"))


def test_ref_that_is_absent(repo: Repo) -> None:
    """A ref that does not exist, or an unborn branch, is nothing."""
    found = find_repository(repo.folder)
    repo.git("checkout", "-q", "--orphan", "empty")
    unborn = find_repository(repo.folder)

    assert found is not None
    assert found.read_ref("refs/hindsight/none") is None
    assert unborn is not None
    assert (unborn.branch, unborn.head, unborn.tree_of_head()) == ("empty", None, None)


def test_other_remotes_than_origin(repo: Repo) -> None:
    """Without an origin the first remote counts; without any there is none."""
    assert (before := find_repository(repo.folder)) is not None
    assert before.remote is None
    repo.git("remote", "add", "upstream", "git@example.org:x.git")

    assert (after := find_repository(repo.folder)) is not None
    assert after.remote == "git@example.org:x.git"


def test_things_that_only_look_like_repositories(tmp_path: Path) -> None:
    """An empty .git folder, and a .git file that points nowhere, are passed over."""
    (tmp_path / "a" / ".git").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".git").write_text("gitdir: /nowhere\n")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".git").write_bytes(b"\xff" * 9000)

    assert [find_repository(tmp_path / name) for name in "abc"] == [None, None, None]


def test_repository_that_cannot_be_entered(repo: Repo) -> None:
    """A repository without a place for objects is not written to."""
    found = find_repository(repo.folder)
    assert found is not None
    assert found.is_writable

    os.rename(repo.folder / ".git" / "objects", repo.folder / "objects")

    assert not found.is_writable
