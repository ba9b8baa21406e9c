"""Git commands run apart from the user's environment, and leave nothing open behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tracker.code.git import Git, clean_environment
from tracker.errors import CodeError

if TYPE_CHECKING:
    from conftest import Repo


def test_failure_says_what_git_said_without_credentials(repo: Repo) -> None:
    """The command and git's own words stand in the error, a password does not."""
    with pytest.raises(CodeError, match=r"git ls-remote .* failed") as caught:
        Git(repo.folder).run("ls-remote", "file://me:hunter2@localhost/nowhere")

    assert "hunter2" not in str(caught.value)


def test_a_folder_that_is_gone_is_an_error_of_ours(tmp_path: Path) -> None:
    """Not being able to start git is told like any failure of git."""
    with pytest.raises(CodeError, match="could not be started"):
        Git(tmp_path / "absent").run("version")


def test_variables_of_git_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the user's shell or hook set for git is gone; the rest is there."""
    monkeypatch.setenv("GIT_TRACE", "1")
    monkeypatch.setenv("OTHER", "1")

    environment = clean_environment({"GIT_DIR": "x"})

    assert "GIT_TRACE" not in environment
    assert (environment["OTHER"], environment["GIT_DIR"]) == ("1", "x")


def test_a_command_that_nobody_finishes_is_stopped_and_closed(repo: Repo) -> None:
    """Leaving the block, also by an exception, ends the process and closes its pipes."""
    before = len(os.listdir("/proc/self/fd"))

    for arguments in (("cat-file", "--batch"), ("version",)):
        with Git(repo.folder).start(*arguments) as running:
            if arguments == ("version",):
                running.process.wait()

        assert running.process.returncode is not None
    assert len(os.listdir("/proc/self/fd")) == before
