"""Which files a run reads, as the audit hook sees it. Each script runs in an interpreter of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

PRELUDE = """
import json, os, sys
from pathlib import Path
from tracker.record.inputs import InputFiles
inputs = InputFiles(os.getcwd())
"""

EPILOGUE = """
import msgspec
inputs.stop()
with open(sys.argv[1], "wb") as file:
    file.write(msgspec.json.encode({"files": inputs.collect(), "missed": inputs.missed}))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with some data."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    (root / "data" / "a.csv").write_text("x\n1\n2\n")
    (root / "data" / "b.txt").write_text("b")
    return root


def run_script(project: Path, body: str) -> dict[str, Any]:
    """What the script's watcher collected, and how much it missed."""
    script, answer = project / "train.py", project.parent / "answer.json"
    script.write_text(PRELUDE + textwrap.dedent(body) + EPILOGUE)
    done = subprocess.run([sys.executable, script, answer], cwd=project, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def paths(project: Path, body: str) -> list[str]:
    """The paths that the script's watcher collected."""
    return [file["path"] for file in run_script(project, body)["files"]]


def test_read_file_has_size_time_and_digest(project: Path) -> None:
    """A file that is read is there with what tells whether it changed later."""
    (file,) = run_script(project, "inputs.start(); open('data/a.csv').read()")["files"]
    data = (project / "data" / "a.csv").read_bytes()

    assert file["path"] == "data/a.csv"
    assert (file["size_bytes"], file["digest"]) == (len(data), blake3(data).hexdigest())
    assert abs(file["modified"] - (project / "data" / "a.csv").stat().st_mtime) < 1e-3


@pytest.mark.parametrize(
    "read",
    [
        "open('data/a.csv')",
        "open(b'data/a.csv', 'rb')",
        "Path('data/a.csv').read_text()",
        "os.open('data/a.csv', os.O_RDONLY)",
        "os.chdir('data'); open('../data/./a.csv')",
        "import io; io.FileIO(Path('data/a.csv'))",
        "import pandas; pandas.read_csv('data/a.csv')",
        "import numpy; numpy.loadtxt('data/a.csv', skiprows=1)",
        "import csv, fileinput; list(fileinput.input(['data/a.csv']))",
        "import shutil; shutil.copy('data/a.csv', 'copy.csv'); open('copy.csv')",
        "import mmap; mmap.mmap(os.open('data/a.csv', os.O_RDONLY), 0, access=mmap.ACCESS_READ)",
        "import threading; t = threading.Thread(target=open, args=('data/a.csv',)); t.start(); t.join()",
        "open('data/a.csv', 'r+')",
        "inputs.note('data/a.csv')",
    ],
)
def test_every_way_to_read_is_seen(project: Path, read: str) -> None:
    """Whatever Python code opens for reading is noticed, once, by its path below the root."""
    body = f"import warnings; warnings.simplefilter('ignore')\ninputs.start(); {read}; inputs.stop()"

    assert paths(project, body) == ["data/a.csv"]


def test_arrays_and_databases_are_seen(project: Path) -> None:
    """Files of NumPy and SQLite that were there before are inputs; a database that the run makes is not."""
    body = """
        import numpy, sqlite3
        numpy.save("data/x.npy", numpy.arange(3))
        numpy.savez("data/y.npz", numpy.arange(3))
        with sqlite3.connect("data/old.db") as database:
            database.execute("create table t (a)")
        inputs.start()
        numpy.load("data/x.npy", mmap_mode="r")
        numpy.load("data/y.npz")
        sqlite3.connect(f"file:{os.getcwd()}/data/old.db?mode=ro", uri=True).close()
        new = sqlite3.connect("data/new.db")
        new.execute("create table t (a)")
        new.close()
        sqlite3.connect("data/new.db").close()
        sqlite3.connect(":memory:").close()
        """
    assert paths(project, body) == ["data/old.db", "data/x.npy", "data/y.npz"]


def test_what_the_run_wrote_is_no_input(project: Path) -> None:
    """Files that the run makes or replaces before it reads them are its own."""
    body = """
        inputs.start()
        Path("out.txt").write_text("1")
        Path("out.txt").read_text()
        Path("data/b.txt").write_text("new")
        Path("data/b.txt").read_text()
        Path("part.tmp").write_text("1")
        os.replace("part.tmp", "done.txt")
        Path("done.txt").read_text()
        open("log.txt", "a+").write("line")
        open("log.txt").read()
        """
    assert paths(project, body) == []


def test_file_that_changed_after_it_was_read_keeps_its_first_state(project: Path) -> None:
    """A state file that is read, then written, is an input as it was; nobody can know its hash any more."""
    body = """
        inputs.start()
        Path("data/a.csv").read_text()
        Path("data/a.csv").write_text("something longer than before")
        Path("data/a.csv").read_text()
        """
    (file,) = run_script(project, body)["files"]

    assert (file["size_bytes"], file.get("digest")) == (6, None)


def test_early_collection_keeps_the_digest(project: Path) -> None:
    """A file that was collected before it changed has the digest of what was read."""
    body = """
        inputs.start()
        Path("data/b.txt").read_text()
        inputs.collect()
        Path("data/b.txt").write_text("changed")
        """
    (file,) = run_script(project, body)["files"]

    assert file["digest"] == blake3(b"b").hexdigest()


def test_code_and_tools_are_left_out(project: Path) -> None:
    """Imports, caches, environments, git, our own store and files elsewhere are no inputs; data beside code is."""
    for name in (
        ".git/HEAD",
        ".venv/x",
        "lib/site-packages/p/data.txt",
        ".hindsight/format.json",
        "a.egg-info/PKG-INFO",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    (project / "package").mkdir()
    (project / "package" / "__init__.py").write_text(
        "from pathlib import Path; Path(__file__, '../v.txt').resolve().read_text()"
    )
    (project / "package" / "v.txt").write_text("vocabulary")
    body = """
        inputs.start()
        import package
        for name in (".git/HEAD", ".venv/x", "lib/site-packages/p/data.txt", ".hindsight/format.json", "train.py"):
            open(name).read()
        open("a.egg-info/PKG-INFO").read()
        open("/etc/hosts").read()
        open("/dev/null").read()
        list(os.scandir("data"))
        import shutil; shutil.rmtree("a.egg-info")
        """
    assert paths(project, body) == ["package/v.txt"]


def test_excluded_folders_and_links(project: Path) -> None:
    """A store below the root can be excluded, and a linked data folder counts as what lies below the root."""
    (project.parent / "elsewhere").mkdir()
    (project.parent / "elsewhere" / "c.txt").write_text("c")
    (project / "linked").symlink_to(project.parent / "elsewhere")
    (project / "store").mkdir()
    (project / "store" / "d.txt").write_text("d")
    body = """
        inputs = InputFiles(".", exclude=["store"]).start()
        open("linked/c.txt").read()
        open("store/d.txt").read()
        """
    assert paths(project, body) == ["linked/c.txt"]


def test_a_root_behind_a_link_is_one_root(project: Path) -> None:
    """Files are found by either name of the root."""
    (project.parent / "link").symlink_to(project)
    body = """
        inputs = InputFiles("../link").start()
        open("../link/data/a.csv").read()
        open("data/a.csv").read()
        open("data/b.txt").read()
        """
    assert paths(project, body) == ["data/a.csv", "data/b.txt"]


def test_own_reads_are_left_out(project: Path) -> None:
    """What Hindsight reads itself, also through the standard library, is no input of the program."""
    body = """
        from tracker.store.local import LocalStore
        Path("plain").mkdir()
        store = LocalStore("plain")
        store.put("runs/a.json", b"x")
        inputs.start()
        store.get("runs/a.json")
        store.open("runs/a.json").close()
        """
    assert paths(project, body) == []


def test_number_of_files_is_bounded(project: Path) -> None:
    """A data set of very many files costs bounded memory, and the rest is counted."""
    body = """
        for number in range(100):
            Path(f"data/{number:03}").write_text("x")
        inputs = InputFiles(".", max_files=10).start()
        for number in range(100):
            open(f"data/{number:03}").close()
        """
    found = run_script(project, body)

    assert len(found["files"]) == 10
    assert found["missed"] == 90


def test_large_files_are_not_hashed(project: Path) -> None:
    """Beyond the limits, of one file or of all, there is size and time only."""
    body = """
        for name, size in (("1", 10), ("2", 11), ("3", 6), ("4", 4)):
            Path(f"data/{name}").write_bytes(b"x" * size)
        inputs = InputFiles(".", hash_limit_bytes=10, hash_total_bytes=15).start()
        for name in "1234":
            open(f"data/{name}").close()
        """
    found = run_script(project, body)["files"]

    assert [file["path"][-1] for file in found if file.get("digest")] == ["1", "4"]


def test_odd_opens_never_fail_because_of_us(project: Path) -> None:
    """Names of any kind, a working directory that is gone, vanished files: all is as it would be without us."""
    body = """
        inputs.start()
        for name in ("missing", "nul\\0", "", "data", os.fsdecode(b"\\xff"), "x" * 5000):
            try:
                open(name)
            except (OSError, ValueError) as exc:
                assert type(exc).__module__ == "builtins", exc
            else:
                raise AssertionError(name)
        Path("data/a.csv").read_text()
        os.remove("data/a.csv")
        os.mkfifo("pipe")
        os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
        os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
        try:
            open("anything")
        except FileNotFoundError:
            pass
        with open(0) as stdin:
            pass
        """
    (file,) = run_script(project, body)["files"]

    assert (file["path"], file.get("digest")) == ("data/a.csv", None)


def test_stopped_watchers_see_nothing_and_others_go_on(project: Path) -> None:
    """The hook stays in the process but works only for those who watch."""
    body = """
        other = InputFiles(".").start()
        with inputs:
            open("data/a.csv").close()
        open("data/b.txt").close()
        other.stop()
        assert [file.path for file in other.collect()] == ["data/a.csv", "data/b.txt"]
        """
    assert paths(project, body) == ["data/a.csv"]
