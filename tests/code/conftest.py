"""Real git repositories, and a fingerprint of all that a snapshot must not change."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tracker.store.base import Store
from tracker.store.open import open_store

HOOKS = (
    *("applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit", "prepare-commit-msg"),
    *("commit-msg", "post-commit", "pre-rebase", "post-checkout", "post-merge", "pre-push", "pre-auto-gc"),
    *("post-rewrite", "reference-transaction", "post-index-change", "fsmonitor-watchman"),
)


class Repo:
    """A repository in a folder, with an identity of its own and no settings of the machine."""

    def __init__(self, folder: Path, *, options: tuple[str, ...] = (), commit: bool = True) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main", *options)
        if commit:
            self.write("train.py", "print('first')\n")
            self.write("src/net.py", "layers = 2\n")
            self.commit("first")

    def git(self, *arguments: str, check: bool = True) -> str:
        """Run git as the user would."""
        identity = ["-c", "user.name=U", "-c", "user.email=u@example.org", "-c", "protocol.file.allow=always"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, path: str, content: str | bytes) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return target

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--no-verify", "-m", message)
        return self.git("rev-parse", "HEAD")

    def files(self, commit: str) -> dict[str, str]:
        """The files of a commit, path to content."""
        listed = self.git("-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", commit).splitlines()
        return {path: self.git("show", f"{commit}:{path}") for path in listed}

    def add_hooks(self, mark: Path) -> None:
        """Let every hook leave a mark and fail."""
        for name in HOOKS:
            hook = self.write(f".git/hooks/{name}", f"#!/bin/sh\necho {name} >> '{mark}'\nexit 1\n")
            hook.chmod(0o755)

    @property
    def git_folder(self) -> Path:
        return (self.folder / self.git("rev-parse", "--git-common-dir")).resolve()


def fingerprint_of(folder: Path) -> dict[str, str]:
    """Every file below a git folder except objects and our refs, with its bytes and mode, and the folders."""
    found = {}
    for where, folders, files in os.walk(folder):
        inside = os.path.relpath(where, folder)
        folders[:] = [
            each for each in folders if each != "objects" and (each != "hindsight" or not inside.endswith("refs"))
        ]
        for name in files:
            path = os.path.join(where, name)
            status = os.lstat(path)
            content = b"" if not stat.S_ISREG(status.st_mode) else Path(path).read_bytes()
            found[os.path.relpath(path, folder)] = f"{status.st_mode:o} {hashlib.sha256(content).hexdigest()}"
        found |= {f"{os.path.relpath(os.path.join(where, name), folder)}/": "" for name in folders}
    return found


@pytest.fixture
def make_repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Repo]:
    """Makes repositories below the test's folder; the machine's git settings are out of the way."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)

    def make(name: str = "project", *, options: tuple[str, ...] = (), commit: bool = True) -> Repo:
        return Repo(tmp_path / name, options=options, commit=commit)

    return make


@pytest.fixture
def repo(make_repo: Callable[..., Repo]) -> Repo:
    """A repository with one commit."""
    return make_repo()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store outside the repository."""
    return open_store(tmp_path / "store")


@pytest.fixture
def unchanged() -> Callable[[Repo], Callable[[], None]]:
    """Takes the fingerprint of a repository; what it returns compares it with the present one."""

    def watch(repo: Repo) -> Callable[[], None]:
        def look() -> tuple[dict[str, str], str, str, str]:
            # No optional locks: asking must not refresh the index that is being watched.
            status = repo.git("--no-optional-locks", "status", "--porcelain=v2", "--branch", "--ignored")
            refs = repo.git("for-each-ref", "--exclude=refs/hindsight", check=False) or "\n".join(
                line for line in repo.git("for-each-ref").splitlines() if "refs/hindsight/" not in line
            )
            reflog = repo.git("reflog", "show", "--all", check=False)
            return fingerprint_of(repo.git_folder), status, refs, reflog

        before = look()

        def compare() -> None:
            assert look() == before

        return compare

    return watch
