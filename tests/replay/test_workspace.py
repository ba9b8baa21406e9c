"""The folder of a slice: the code of then, the probes of now, the inputs, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from tests.code.conftest import Repo
from tests.replay.recorded import Project, fingerprint
from tracker.errors import DamagedObject
from tracker.replay.inputs import bring_inputs, bring_unchanged
from tracker.replay.workspace import workspace
from tracker.store.documents import InputFile
from tracker.store.objects import put_object

CODE = """
import tracker
tracker.init()
with open("data/rows.csv") as rows:
    tracker.log("rows", len(rows.readlines()))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    made = Project.make(tmp_path, CODE)
    made.repo.write("data/rows.csv", "1\n2\n")
    return made


def found_input(repo: Repo, path: str, **about: object) -> InputFile:
    """An input file as a run notes it."""
    info = (repo.folder / path).stat()
    return msgspec.structs.replace(InputFile(path=path, size_bytes=info.st_size, modified=info.st_mtime), **about)


def test_it_holds_the_code_the_probes_and_the_inputs(project: Project) -> None:
    """As they were; and all of it is gone at the end, with what the program wrote."""
    view = project.record()
    assert view.code is not None
    assert view.attempts[0].end is not None
    sources = put_object(project.store, msgspec.json.encode({"train.py": "print(1)\r\n", "new/helper.py": "x = 'é'\n"}))

    with workspace(
        project.store, view.code, sources=sources, root=str(project.repo.folder), inputs=view.attempts[0].end.inputs
    ) as space:
        assert (space.project / "train.py").read_bytes() == b"print(1)\r\n"
        assert (space.project / "new/helper.py").read_text() == "x = 'é'\n"
        assert (space.project / "data/rows.csv").read_text() == "1\n2\n"
        assert (space.project / ".gitignore").exists()
        (space.project / "out.txt").write_text("result")

    assert space.notes == []
    assert os.listdir(tempfile.gettempdir()) == []


def test_it_is_removed_after_an_error(project: Project) -> None:
    """Whatever goes wrong inside, or while it is made."""
    code = project.record().code
    assert code is not None
    with pytest.raises(ZeroDivisionError), workspace(project.store, code):
        raise ZeroDivisionError
    sources = put_object(project.store, b"no json")
    with pytest.raises(DamagedObject), workspace(project.store, code, sources=sources):
        pass

    assert os.listdir(tempfile.gettempdir()) == []


@pytest.mark.parametrize("path", ["../out.py", "/etc/out.py", ".git/hooks/post-checkout", "a/../../out.py"])
def test_sources_cannot_leave_it(project: Project, path: str) -> None:
    """A store that names such a path is refused, and nothing is written."""
    code = project.record().code
    assert code is not None
    sources = put_object(project.store, msgspec.json.encode({path: "x"}))

    with pytest.raises(DamagedObject), workspace(project.store, code, sources=sources):
        pass


def test_what_a_killed_process_left_is_removed(project: Project) -> None:
    """By the next workspace; those of processes that live stay."""
    code = project.record().code
    assert code is not None
    script = f"""
import os, tempfile
from tracker.replay.workspace import workspace
from tracker.store.documents import CodeDocument
from tracker.store.open import open_store
with workspace(open_store({project.store.url!r}), CodeDocument(snapshot={code.snapshot!r})):
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"TMPDIR": tempfile.gettempdir()}, check=False)
    assert len(os.listdir(tempfile.gettempdir())) == 1

    with workspace(project.store, code) as outer, workspace(project.store, code) as inner:
        assert {Path(tempfile.gettempdir()) / name for name in os.listdir(tempfile.gettempdir())} == {
            outer.folder,
            inner.folder,
        }


def test_a_signal_to_end_removes_it(project: Project) -> None:
    """SIGTERM unwinds, and the exit code says which signal it was."""
    code = project.record().code
    assert code is not None
    script = f"""
import os
from tracker.replay.workspace import workspace
from tracker.store.documents import CodeDocument
from tracker.store.open import open_store
with workspace(open_store({project.store.url!r}), CodeDocument(snapshot={code.snapshot!r})):
    os.kill(os.getpid(), {int(signal.SIGTERM)})
    import time; time.sleep(60)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"TMPDIR": tempfile.gettempdir()}, check=False
    )

    assert done.returncode == 128 + signal.SIGTERM
    assert os.listdir(tempfile.gettempdir()) == []


def test_an_input_that_was_written_since_is_copied(project: Project, tmp_path: Path) -> None:
    """So that what the program writes to it does not reach the original."""
    about = found_input(project.repo, "data/rows.csv", modified=1.0)
    before = fingerprint(project.repo.folder)

    bring_inputs([about], str(project.repo.folder), tmp_path / "temporary")
    with (tmp_path / "temporary/data/rows.csv").open("a") as file:
        file.write("3\n")

    assert fingerprint(project.repo.folder) == before


def test_an_input_that_stayed_is_linked(project: Project, tmp_path: Path) -> None:
    """However large it is."""
    notes = bring_inputs([found_input(project.repo, "data/rows.csv")], str(project.repo.folder), tmp_path / "temporary")

    assert notes == []
    assert os.readlink(tmp_path / "temporary/data/rows.csv") == str(project.repo.folder / "data/rows.csv")


def test_other_files_are_brought_where_they_are_older_than_the_run(project: Project, tmp_path: Path) -> None:
    """Not what was written since, and nothing of tools and environments."""
    for path in ("old.bin", "new.bin", ".venv/pyvenv.cfg", ".venv/lib/x", "store/objects/x", "pkg/__pycache__/x.pyc"):
        project.repo.write(path, "x")
        os.utime(project.repo.folder / path, (50.0, 50.0))
    os.utime(project.repo.folder / "new.bin", (150.0, 150.0))
    os.utime(project.repo.folder / "data/rows.csv", (50.0, 50.0))
    folder = tmp_path / "temporary"
    (folder / "data").mkdir()

    bring_unchanged(str(project.repo.folder), folder, before=100.0, exclude=[project.repo.folder / "store"])

    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "data/rows.csv",
        "old.bin",
    ]
    (folder / "old.bin").write_text("of the replay")
    assert (project.repo.folder / "old.bin").read_text() == "x"


def test_inputs_that_changed_are_told(project: Project, tmp_path: Path) -> None:
    """By size, by content where it was hashed, and when they are gone."""
    about = found_input(project.repo, "data/rows.csv")
    cases = {
        "has 4 bytes now and had 9": msgspec.structs.replace(about, size_bytes=9),
        "content has changed": msgspec.structs.replace(about, modified=1.0, digest="0" * 64),
        "too large to be hashed": msgspec.structs.replace(about, modified=1.0),
        "no longer there": msgspec.structs.replace(about, path="data/gone.csv"),
    }
    for number, (text, file) in enumerate(cases.items()):
        folder = tmp_path / "temporary" / str(number)
        folder.mkdir()

        (note,) = bring_inputs([file], str(project.repo.folder), folder)

        assert text in note


def test_input_paths_of_a_hostile_store_are_refused(project: Project, tmp_path: Path) -> None:
    """Nothing is linked outside the folder, nor through a link inside it."""
    about = found_input(project.repo, "data/rows.csv")
    with pytest.raises(DamagedObject):
        bring_inputs([msgspec.structs.replace(about, path="../rows.csv")], str(project.repo.folder), tmp_path)
    (tmp_path / "temporary/data").symlink_to(tmp_path)

    bring_inputs([about], str(project.repo.folder), tmp_path / "temporary")

    assert not (tmp_path / "rows.csv").exists()
