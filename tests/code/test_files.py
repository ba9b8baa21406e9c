"""Folders without git are captured by the same rules, file by file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracker.code import files
from tracker.code.checkout import checkout
from tracker.code.shipping import read_snapshot
from tracker.code.snapshot import SnapshotSettings, take_snapshot
from tracker.errors import DamagedObject
from tracker.store import keys
from tracker.store.base import Store


def _write(folder: Path, contents: dict[str, str]) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with some code, an ignore file, a cache, an environment and a secret."""
    folder = tmp_path / "project"
    _write(
        folder, {"train.py": "x\n", "lib/net.py": "y\n", ".gitignore": "*.log\nout/\n", "debug.log": "n", ".env": "S=1"}
    )
    _write(folder, {"out/result.txt": "r", "lib/__pycache__/x.pyc": "c", "env/pyvenv.cfg": "", "env/lib/v.py": "v"})
    return folder


def test_files_come_back_as_they_were(project: Path, store: Store, tmp_path: Path) -> None:
    """Contents, executable bits, links and odd names survive; ignored files and environments stay out."""
    (project / "train.py").chmod(0o755)
    (project / "link").symlink_to("lib/net.py")
    with open(os.fsencode(project) + b"/odd\xff.py", "wb") as file:
        file.write(b"z")

    document = take_snapshot(project, store)
    folder = checkout(store, document, tmp_path / "out").folder

    assert document.problem is None
    assert document.commit is None
    assert sorted(os.listdir(os.fsencode(folder))) == [b".gitignore", b"lib", b"link", b"odd\xff.py", b"train.py"]
    assert os.access(folder / "train.py", os.X_OK)
    assert os.readlink(folder / "link") == "lib/net.py"
    assert os.listdir(folder / "lib") == ["net.py"]
    assert document.left_out == {".env": "looks like a secret"}


def test_equal_files_give_one_snapshot_and_are_stored_once(project: Path, store: Store) -> None:
    """A second run adds nothing; a changed file adds one object and one list."""
    first = take_snapshot(project, store)
    before = {info.key for info in store.list()}
    assert take_snapshot(project, store).snapshot == first.snapshot
    assert {info.key for info in store.list()} == before
    (project / "train.py").write_text("changed\n")

    second = take_snapshot(project, store)

    assert second.snapshot != first.snapshot
    assert len({info.key for info in store.list()} - before) == 2


def test_a_home_folder_does_not_take_for_ever(project: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk is bounded, takes the nearest files first and says that it stopped."""
    monkeypatch.setattr(files, "_MAX_VISITED", 8)
    _write(project, {f"zdeep/d{number}/f.py": "x" for number in range(20)})

    document = take_snapshot(project, store)

    kept = {file.path for file in read_snapshot(store, document.snapshot or "").files}
    assert "train.py" in kept
    assert document.left_out["…"].startswith("not looked at")


def test_limits_hold_without_git_too(project: Path, store: Store) -> None:
    """Large files are listed, and code goes before data when there is too much."""
    (project / "weights.bin").write_bytes(b"0" * 5000)
    settings = SnapshotSettings(max_file_bytes=4000, max_new_files=2)

    document = take_snapshot(project, store, settings=settings)

    kept = {file.path for file in read_snapshot(store, document.snapshot or "").files}
    assert kept == {"train.py", "lib/net.py"}
    assert document.left_out["weights.bin"] == "5,000 bytes are more than 4,000"


def test_a_machine_without_git(project: Path, store: Store, tmp_path: Path) -> None:
    """Where git is not installed, a repository is captured as a folder."""
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    script = (
        "import sys; from pathlib import Path; from tracker.store.open import open_store\n"
        "from tracker.code.snapshot import take_snapshot\n"
        "print(take_snapshot(Path(sys.argv[1]), open_store(sys.argv[2])).snapshot)\n"
    )
    command = [sys.executable, "-c", script, str(project), str(tmp_path / "store")]

    done = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True, check=True)

    assert (checkout(store, done.stdout.strip(), tmp_path / "out").folder / "train.py").read_text() == "x\n"


def test_a_changed_object_is_noticed(project: Path, store: Store, tmp_path: Path) -> None:
    """Bytes that do not have the hash that names them are not handed out."""
    document = take_snapshot(project, store)
    file = read_snapshot(store, document.snapshot or "").files[0]
    store.put(keys.object_key(file.digest), b"other")

    with pytest.raises(DamagedObject, match="is damaged"):
        checkout(store, document, tmp_path / "out")
