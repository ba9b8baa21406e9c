"""The house keeps its shape: imports run one way, nothing heavy is imported early, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tracker
from tracker import api

PACKAGE = Path(tracker.__file__).parent
ROOT = PACKAGE.parent
# From the ground up; a room may import from its own floor only itself, and from every floor below.
FLOORS = [
    {"errors", "__version__"},
    {"secrets", "config", "syntax"},
    {"store"},
    {"record", "code", "checkpoint", "read"},
    {"replay"},
    {"syncing", "upkeep"},
    {"api"},
    {"cli", "__init__"},
    {"__main__"},
    {"decorators"},
    {"operators"},
]
# Both tell and keep: recording stores code, and takes its loops from there, reading is left out of it.
NEIGHBOURS = {
    *(("record", "code"), ("record", "checkpoint"), ("checkpoint", "record"), ("code", "read")),
    ("upkeep", "syncing"),  # a repair fetches from another store with the checks of a sync
}
HEAVY = {
    "numpy", "pandas", "pyarrow", "fsspec", "git", "psutil", "libcst", "typer", "rich", "safetensors", "zstandard",
    "s3fs", "obstore", "duckdb", "polars", "torch", "airflow", "prefect", "submitit", "asyncio", "tenacity",
}  # fmt: skip

# Files that an engine's own users load, and nobody else: they define classes of the engine's.
OF_AN_ENGINE = {
    # A block, and flows that Prefect finds by name.
    *("decorators/prefect_blocks.py", "decorators/prefect_flows.py", "decorators/prefect_upkeep.py"),
    "decorators/submitit_executor.py",  # `TrackedExecutor`, which `tracker.decorators` loads for those who ask for it
    # Airflow's own classes are the bases of what these define; `tracker.operators` loads them for those who ask for it.
    *("operators/hook.py", "operators/links.py", "operators/listener.py", "operators/operator.py"),
    *("operators/plugin.py", "operators/replay_dag.py", "operators/replay_tasks.py", "operators/replaying.py"),
    *("operators/syncing.py", "operators/compacting.py", "operators/slurm.py"),
    *("operators/slurm_trigger.py", "operators/replay_trigger.py"),
}


def sources() -> Iterator[tuple[str, Path]]:
    """Every file of the package with the room it belongs to."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        yield (parts[0].removesuffix(".py"), path)
    for room in ("decorators", "operators"):
        for path in sorted((ROOT / room).rglob("*.py")):
            yield room, path


SOURCES = list(sources())


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """The modules that a file imports, and whether at its top level; not those for the type checker alone."""
    tree = ast.parse(path.read_text())
    ignored = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in tree.body) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "tracker" else [node.module]
            )
            yield from ((name, node in tree.body) for name in names)


def floor(room: str) -> int:
    """How high a room lies."""
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize(("room", "path"), SOURCES, ids=lambda value: str(value).replace(str(ROOT), ""))
def test_imports_run_one_way(room: str, path: Path) -> None:
    """Nothing imports from a floor above, or from another room of its own floor unless they are neighbours."""
    for name, _ in imported(path):
        parts = name.split(".")
        if parts[0] == "tracker" and len(parts) > 1 and parts[1] != room and (room, parts[1]) not in NEIGHBOURS:
            assert floor(parts[1]) < floor(room), f"{path.name} of {room} imports {name}"


@pytest.mark.parametrize(("room", "path"), SOURCES, ids=lambda value: str(value).replace(str(ROOT), ""))
def test_heavy_libraries_are_imported_where_they_are_used(room: str, path: Path) -> None:
    """Outside of the command line, no module needs them only to be imported."""
    at_top = {name.split(".")[0] for name, is_top in imported(path) if is_top}
    is_engines = path.relative_to(ROOT).as_posix() in OF_AN_ENGINE
    assert room == "cli" or is_engines or not at_top & HEAVY


@pytest.mark.parametrize(("room", "path"), SOURCES, ids=lambda value: str(value).replace(str(ROOT), ""))
def test_files_are_short(room: str, path: Path) -> None:
    """Past 400 lines there is a second concept."""
    assert len(path.read_text().splitlines()) <= 400


def loaded_by(code: str, folder: Path) -> set[str]:
    """The modules that a new interpreter has loaded after some code."""
    show = "import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True, cwd=folder
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_but_itself(tmp_path: Path) -> None:
    """The names of the API appear when they are asked for."""
    loaded = loaded_by("import tracker", tmp_path)

    assert {name for name in loaded if name.startswith("tracker")} == {"tracker"}
    assert not loaded & HEAVY


def test_logging_loads_nothing_heavy(tmp_path: Path) -> None:
    """The first log of a process needs neither NumPy nor Arrow; sealing does, later and in the background."""
    code = "import tracker, os\ntracker.init(store='store', capture=(), heartbeat_s=100)\n"
    code += "for s in tracker.loop('step', range(3)): tracker.log('x', s / 2)\n"

    loaded = loaded_by(code, tmp_path)

    assert not loaded & (HEAVY - {"numpy", "asyncio"})
    assert "torch" not in loaded


def test_the_public_names_are_those_of_the_api() -> None:
    """``tracker`` offers what ``tracker.api`` defines and ``replay``, which can be called; each has a docstring."""
    assert set(tracker.__all__) == {*api.__all__, "replay", "__version__"}
    assert dir(tracker) == sorted(tracker.__all__)
    for name in (*api.__all__, "replay"):
        first = (getattr(tracker, name).__doc__ or "").strip().splitlines()[0]
        assert len(first) > 20, name


def test_an_unknown_name_is_an_attribute_error() -> None:
    """With the module and the name, as for any other module."""
    with pytest.raises(AttributeError, match="module 'tracker' has no attribute 'lag'"):
        _ = tracker.lag


def test_the_error_tree_is_the_one_that_is_drawn() -> None:
    """The docstring of ``tracker.errors`` shows every error below its parents."""
    from tracker import errors

    drawn = [line for line in (errors.__doc__ or "").splitlines() if line.strip().startswith(("├", "└", "│"))]
    names = {line.strip("│├└─ ").split()[0] for line in drawn}
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)} - {"HindsightError"}
    assert names == defined
