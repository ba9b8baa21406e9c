"""Starting a recorded entry again: command, folder, environment; and that nothing of it stays."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tracker.errors import DamagedObject, InputError
from tracker.record.replaying import Order
from tracker.replay.entry import command_of, environment_of, moved
from tracker.replay.execution import Command, execute, last_lines, write_order
from tracker.secrets import MASK
from tracker.store.documents import Entry, StartDocument
from tracker.store.ids import new_id


def start(root: str = "/home/me/project", **about: Any) -> StartDocument:
    """A start document of a script."""
    entry = Entry(**({"kind": "script", "script": "train.py"} | about.pop("entry", {})))
    return StartDocument(run=new_id(), attempt=new_id(), started=0.0, entry=entry, pid=1, writer="", root=root, **about)


def python(code: str, folder: Path) -> Command:
    return Command((sys.executable, "-c", code), folder, dict(os.environ))


def test_output_and_exit_code(tmp_path: Path) -> None:
    """Both streams go to one file; standard input is empty."""
    code = "import sys; print('out'); print('err', file=sys.stderr, flush=True); sys.exit(len(sys.stdin.read()) + 3)"

    ending = execute(python(code, tmp_path), tmp_path / "output")

    assert (ending.how, ending.code) == ("exited", 3)
    assert sorted(last_lines(tmp_path / "output").split()) == ["err", "out"]


def test_a_signal_is_an_exit_code_as_in_a_shell(tmp_path: Path) -> None:
    """128 and its number."""
    ending = execute(python("import os; os.kill(os.getpid(), 9)", tmp_path), tmp_path / "output")

    assert (ending.how, ending.code) == ("exited", 137)


def test_what_the_process_started_goes_with_it(tmp_path: Path) -> None:
    """Also when the process itself has ended by itself."""
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True)"

    execute(python(code, tmp_path), tmp_path / "output")

    pid = int(last_lines(tmp_path / "output"))
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_check_can_stop_it(tmp_path: Path) -> None:
    """It is asked again and again while the process runs."""
    answers = iter([False, True])

    ending = execute(python("import time; time.sleep(600)", tmp_path), tmp_path / "output", check=lambda: next(answers))

    assert ending.how == "stopped"


def test_only_the_last_lines_are_kept_and_secrets_are_masked(tmp_path: Path) -> None:
    """Enough to see what went wrong."""
    (tmp_path / "output").write_text("line\n" * 1000 + "password=hunter2hunter2\n")

    text = last_lines(tmp_path / "output")

    assert len(text.splitlines()) == 50
    assert "hunter2" not in text
    assert last_lines(tmp_path / "absent") == ""


def test_an_order_is_for_this_user_alone(tmp_path: Path) -> None:
    """It may hold the key of a store."""
    order = Order(run=new_id(), attempt=new_id(), store="s3://bucket", scratch="x", storage_options={"secret": "y"})

    write_order(tmp_path / "order", order)

    assert stat.S_IMODE((tmp_path / "order").stat().st_mode) == 0o600
    assert msgspec.json.decode((tmp_path / "order").read_bytes(), type=Order) == order


def test_a_script_is_started_in_the_copy(tmp_path: Path) -> None:
    """With its arguments; those that lead into the project lead into its copy."""
    (tmp_path / "train.py").touch()
    entry = {"argv": ("--out=/home/me/project/out", "--lr", "0.1"), "working_directory": "runs"}

    found = command_of(start(entry=entry), project=tmp_path, elsewhere=tmp_path / "else", own={"A": "1"}, python="py")

    assert found.arguments == ("py", str(tmp_path / "train.py"), f"--out={tmp_path}/out", "--lr", "0.1")
    assert found.folder == tmp_path / "runs"
    assert found.folder.is_dir()
    assert found.environment["A"] == "1"


def test_a_module_is_started_by_its_name(tmp_path: Path) -> None:
    """As ``python -m`` does."""
    entry = {"kind": "module", "script": "pkg.train"}

    found = command_of(start(entry=entry), project=tmp_path, elsewhere=tmp_path, own={})

    assert found.arguments == (sys.executable, "-m", "pkg.train")


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "notebook"},
        {"kind": "function", "function": "os:system"},
        {"script": "/usr/bin/train.py"},
        {"script": "absent.py"},
    ],
)
def test_what_cannot_be_started_again_says_so(entry: dict[str, str], tmp_path: Path) -> None:
    """Nothing outside of the recorded code is executed."""
    with pytest.raises(InputError):
        command_of(start(entry=entry), project=tmp_path, elsewhere=tmp_path, own={})


@pytest.mark.parametrize("entry", [{"script": "../train.py"}, {"working_directory": "../.."}])
def test_paths_cannot_leave_the_copy(entry: dict[str, str], tmp_path: Path) -> None:
    """A store that says so is not believed."""
    (tmp_path / "train.py").touch()
    with pytest.raises(DamagedObject):
        command_of(start(entry=entry), project=tmp_path, elsewhere=tmp_path, own={})


def test_the_environment_is_the_recorded_one_where_that_matters() -> None:
    """What tells of the place stays as it is here; masked and foreign values do not come."""
    recorded = {
        "PYTHONHASHSEED": "3",
        "OMP_NUM_THREADS": "4",
        "SLURM_JOB_ID": "1",
        "CUDA_VISIBLE_DEVICES": "3",
        "HINDSIGHT_STORE": "s3://old",
        "HINDSIGHT_ARG_LR": "0.5",
        "TORCH_X": MASK,
    }
    current = {"PATH": "/bin", "MKL_NUM_THREADS": "1", "HINDSIGHT_ARG_EPOCHS": "9", "CUDA_VISIBLE_DEVICES": "0"}

    found = environment_of(start(environment=recorded), current)

    assert found == {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "0",
        "PYTHONHASHSEED": "3",
        "OMP_NUM_THREADS": "4",
        "HINDSIGHT_ARG_LR": "0.5",
    }


def test_an_installed_project_is_found_in_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable installation would otherwise lead to the code of today."""
    (tmp_path / "train.py").touch()
    monkeypatch.setattr(sys, "path", ["/home/me/project/src", "/usr/lib/python"])

    found = command_of(start(), project=tmp_path, elsewhere=tmp_path, own={}, current={"PYTHONPATH": "/opt/lib"})

    assert found.environment["PYTHONPATH"] == f"/opt/lib{os.pathsep}{tmp_path}/src"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("/p/a", "/c/a"), ("--x=/p", "--x=/c"), ("/pq/a", "/pq/a"), ("/x/p/a", "/x/p/a"), ("p", "p")],
)
def test_only_paths_in_the_project_move(text: str, expected: str) -> None:
    """A folder whose name only begins alike is another one."""
    assert moved(text, "/p", Path("/c")) == expected
