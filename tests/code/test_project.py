"""The project's folder and the entry that would run it again are found however a run was started."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracker.code.project import function_entry, function_root, project_root

SHOW = (
    "import json, sys\nfrom tracker.code.project import capture_entry, script_root\nimport msgspec\n"
    "root = script_root()\n"
    "print(json.dumps({'root': str(root), **msgspec.to_builtins(capture_entry(sys.argv, root=root))}))\n"
)


def _run(*arguments: str, folder: Path, **options: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=True, **options
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a script, a package and a subfolder."""
    folder = (tmp_path / "project").resolve()
    (folder / "pkg" / "sub").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("")
    for path in ("train.py", "pkg/sub/train.py", "pkg/__main__.py", "pkg/tool.py"):
        (folder / path).write_text(SHOW)
    (folder / "pkg" / "__init__.py").write_text("")
    return folder


def test_root_is_the_nearest_marked_folder(project: Path) -> None:
    """The first folder upwards that looks like a project, else the folder itself."""
    assert project_root(project / "pkg" / "sub") == project
    assert project_root(Path("/")) == Path("/")


def test_script(project: Path) -> None:
    """A script is named relative to the project, with the folder it was started in and masked arguments."""
    entry = _run("sub/train.py", "--lr", "1", "--password", "hunter2", folder=project / "pkg")

    assert entry == {
        "root": str(project),
        "kind": "script",
        "script": "pkg/sub/train.py",
        "argv": ["--lr", "1", "--password", "***"],
        "working_directory": "pkg",
    }


@pytest.mark.parametrize(("module", "name"), [("pkg.tool", "pkg.tool"), ("pkg", "pkg")])
def test_module(project: Path, module: str, name: str) -> None:
    """`python -m` is recorded as a module, also where a package has a main module."""
    entry = _run("-m", module, "x", folder=project)

    assert (entry["kind"], entry["script"], entry["argv"]) == ("module", name, ["x"])


def test_folder_with_a_main_module(project: Path) -> None:
    """`python folder` is the script inside it."""
    entry = _run("pkg", folder=project)

    assert (entry["kind"], entry["script"]) == ("script", "pkg/__main__.py")


def test_typed_code_is_interactive(project: Path) -> None:
    """What came from the command line or a pipe has no script."""
    assert _run("-c", SHOW, "x", folder=project)["kind"] == "interactive"
    assert _run("-", folder=project, input=SHOW)["kind"] == "interactive"


def test_script_of_a_project_elsewhere(project: Path, tmp_path: Path) -> None:
    """Started from an unrelated folder, the script's own project counts."""
    (tmp_path / "elsewhere").mkdir()
    entry = _run(str(project / "train.py"), folder=tmp_path / "elsewhere")

    assert (entry["root"], entry["script"]) == (str(project), "train.py")
    assert entry["working_directory"] == str((tmp_path / "elsewhere").resolve())


def test_working_directory_that_was_removed(project: Path, tmp_path: Path) -> None:
    """A folder that is gone from under the process is no reason to stop it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"import os; os.rmdir({str(gone)!r})\n{SHOW}"

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=gone,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout)["root"] == str(tmp_path.resolve())


def test_the_project_of_a_function_is_that_of_its_own_file(project: Path) -> None:
    """Whatever stands around it; what is installed has none."""
    names: dict[str, Any] = {"__name__": "train"}
    exec(compile("def train(): pass", str(project / "train.py"), "exec"), names)

    @functools.wraps(names["train"])
    def wrapped() -> None:
        names["train"]()

    for function in (names["train"], wrapped, functools.lru_cache(wrapped)):
        assert function_root(function) == project
        assert function_entry(function, root=project).script == "train.py"
    assert [function_root(each) for each in (pytest.main, json.dumps, len)] == [None, None, None]
