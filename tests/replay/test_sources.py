"""The files of today and of a snapshot are the same ones, under the same paths."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tracker.code.snapshot import take_snapshot
from tracker.replay.sources import Snapshots, current_sources
from tracker.store.base import Store
from tracker.store.open import open_store

FILES = {
    "train.py": b"import net\r\nprint('\xc3\xa9')\r\n",
    "src/net.py": b"layers = 2\n",
    "src/run.pyw": b"\xef\xbb\xbfx = 1\n",
    "latin.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
    "notes.txt": b"no code\n",
    "build/made.py": b"ignored = 1\n",
    "private/key.py": b"left_out = 1\n",
    ".gitignore": b"build/\n",
    ".hindsightignore": b"private/\n",
}
FOUND = {
    "train.py": "import net\r\nprint('é')\r\n",
    "src/net.py": "layers = 2\n",
    "src/run.pyw": "\ufeffx = 1\n",
}


def lay_out(root: Path, files: dict[str, bytes] = FILES) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=U", "-c", "user.email=u@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store beside the project."""
    return open_store(tmp_path / "store")


@pytest.mark.parametrize("kind", ["plain", "new", "committed"])
def test_today_equals_the_snapshot(tmp_path: Path, store: Store, kind: str) -> None:
    """With and without git, committed or not; what is ignored, unreadable as UTF-8 or no Python stays out."""
    root = lay_out(tmp_path / "project")
    if kind != "plain":
        git(root, "init", "-q")
    if kind == "committed":
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", "first")

    code = take_snapshot(root, store)

    assert current_sources(root) == FOUND
    assert Snapshots(store).sources(code) == FOUND


def test_edits_count_as_they_stand_on_disk(tmp_path: Path) -> None:
    """Changed, removed and new files, staged or not."""
    root = lay_out(tmp_path / "project")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    (root / "src" / "net.py").unlink()
    (root / "train.py").write_text("edited = 1\n")
    git(root, "add", "train.py")
    (root / "new.py").write_text("new = 1\n")
    (root / "link.py").symlink_to("new.py")

    assert current_sources(root) == {
        "train.py": "edited = 1\n", "new.py": "new = 1\n", "src/run.pyw": FOUND["src/run.pyw"],
    }  # fmt: skip


def test_paths_of_a_subfolder_are_those_of_the_repository(tmp_path: Path, store: Store) -> None:
    """As in the snapshot, which holds all of it."""
    top = lay_out(tmp_path / "top", {"ml/pyproject.toml": b"", "ml/train.py": b"x = 1\n", "lib.py": b"y = 1\n"})
    git(top, "init", "-q")
    expected = {"ml/train.py": "x = 1\n", "lib.py": "y = 1\n"}

    assert current_sources(top / "ml") == expected
    assert Snapshots(store).sources(take_snapshot(top / "ml", store)) == expected


def test_a_project_that_the_repository_around_it_ignores(tmp_path: Path, store: Store) -> None:
    """Is a folder of its own."""
    top = lay_out(tmp_path / "top", {".gitignore": b"ml/\n", "ml/train.py": b"x = 1\n", "lib.py": b"y = 1\n"})
    git(top, "init", "-q")

    assert current_sources(top / "ml") == {"train.py": "x = 1\n"}
    assert Snapshots(store).sources(take_snapshot(top / "ml", store)) == {"train.py": "x = 1\n"}


def test_a_snapshot_is_read_once(tmp_path: Path, store: Store) -> None:
    """However many runs it has."""
    code = take_snapshot(lay_out(tmp_path / "project"), store)
    snapshots = Snapshots(store)

    assert snapshots.sources(code) is snapshots.sources(code)


def test_looking_changes_nothing_in_the_repository(tmp_path: Path) -> None:
    """Not a byte below ``.git``, also where the index is stale."""
    root = lay_out(tmp_path / "project")
    git(root, "init", "-q")
    git(root, "add", "-A")
    (root / "train.py").touch()
    before = {path: path.read_bytes() for path in (root / ".git").rglob("*") if path.is_file()}

    current_sources(root)

    assert {path: path.read_bytes() for path in (root / ".git").rglob("*") if path.is_file()} == before
