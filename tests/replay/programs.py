"""Training programs for the tests of replays: recorded in a git repository, and run once more without the tracker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from tracker.errors import NameNotFound
from tracker.read.frame import dataframe
from tracker.replay.asking import Replay, replay
from tracker.store.base import Store
from tracker.store.open import open_store

# Stands in for the tracker: loops are plain loops, and what is logged goes to a file with the loops around it.
TRUTH = """
import json, sys, types
from contextlib import contextmanager
stack, rows = [], []
def log(name, value, **labels):
    rows.append([name, value, [list(place) for place in stack]])
    return value
def loop(name, items):
    stack.append([name, None, None])
    try:
        for index, item in enumerate(items):
            stack[-1][1:] = index, item if isinstance(item, (int, float)) else index
            yield item
    finally:
        stack.pop()
@contextmanager
def checkpointing(**objects):
    yield objects
given = json.loads(sys.argv[2])
module = types.ModuleType("tracker")
module.log, module.loop, module.checkpointing = log, loop, checkpointing
module.arg = lambda name, default=None: given.get(name, default)
sys.modules["tracker"] = module
source, sys.argv = open(sys.argv[1]).read(), sys.argv[:1]
try:
    exec(compile(source, "train.py", "exec"), {"__name__": "__main__"})
finally:
    print(json.dumps(rows))
"""


@dataclass
class Project:
    """A repository with a script ``train.py``, and a store beside it."""

    folder: Path
    url: Path

    @property
    def store(self) -> Store:
        return open_store(self.url, create=False)

    def commit(self, source: str, message: str = "work") -> None:
        """Write the script and commit it."""
        (self.folder / "train.py").write_text(source)
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-qm", message)

    def record(self, *arguments: str, checkpoints: str = "all", check: bool = True, **environment: str) -> str:
        """Run the script as its user would; the id of the run."""
        known = set(self.store.folders("runs/")) if self.url.exists() else set()
        command = [sys.executable, "train.py", *(["--kwargs", *arguments] if arguments else [])]
        variables = {**os.environ, "HINDSIGHT_STORE": str(self.url), "HINDSIGHT_CHECKPOINTS": checkpoints}
        subprocess.run(command, cwd=self.folder, env={**variables, **environment}, check=check, timeout=120)
        (run,) = set(self.store.folders("runs/")) - known
        return run

    def replay(self, *names: str, **question: Any) -> Replay:
        """Ask, as ``tracker.replay`` does."""
        return replay(*names, root=self.folder, store=self.url, **{"workers": 1, **question})

    def values(self, name: str, *loops: str) -> list[tuple[Any, ...]]:
        """What the frame shows: indices of the loops and the value, sorted by the loops."""
        frame = dataframe(self.store, name)
        frame = frame[frame[name].notna()]
        return sorted((*(int(row[loop]) for loop in loops), row[name]) for _, row in frame.iterrows())

    def answers(self, name: str, *loops: str) -> list[tuple[Any, ...]]:
        """As `values`, in any order that is the same for the same rows; -1 for a loop that a row does not have."""
        try:
            frame = dataframe(self.store, name)
        except NameNotFound:
            return []
        frame = frame[frame[name].notna() | frame[name].map(lambda value: isinstance(value, float))]
        rows = frame.to_dict("records")
        return sorted(((*(_item(row.get(loop)) for loop in loops), row[name]) for row in rows), key=repr)

    def fidelities(self, name: str) -> set[str]:
        """The fidelity of every answer."""
        frame = dataframe(self.store, name, "fidelity")
        return set(frame[frame[name].notna()]["fidelity"])


def make_project(tmp_path: Path) -> Project:
    """An empty repository."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for key, value in (("user.name", "Test"), ("user.email", "test@localhost")):
        git(folder, "config", key, value)
    return Project(folder, tmp_path / "store")


def git(folder: Path, *arguments: str) -> str:
    """One git command."""
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout


def truth(source: str, name: str, *loops: str, **arguments: Any) -> list[tuple[Any, ...]]:
    """What the program logs under a name, computed without the tracker: indices of the loops and the value."""
    path = Path(os.environ["PYTEST_TRUTH"]) / f"truth-{abs(hash(source))}.py"
    path.write_text(source)
    command = [sys.executable, "-c", TRUTH, str(path), json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    found = []
    for logged, value, places in rows:
        if logged == name:
            where = {loop: index for loop, index, _ in places}
            found.append((*(where[loop] for loop in loops), value))
    return sorted(found)


def logged(project: Project, name: str, **arguments: Any) -> list[tuple[dict[str, Any], Any]]:
    """What the project's program logs under a name as it stands now, computed without the tracker: items of the loops,
    and the value.
    """
    command = [sys.executable, "-c", TRUTH, "train.py", json.dumps(arguments)]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    return [({loop: item for loop, _, item in places}, value) for found, value, places in rows if found == name]


def program(body: str, **inserted: str) -> str:
    """A program with statements put in at ``# <name>`` comments, at the same indentation."""
    lines = []
    for line in dedent(body).strip().splitlines():
        mark = line.strip().removeprefix("# ")
        if line.strip().startswith("# ") and mark in inserted:
            indent = line[: len(line) - len(line.lstrip())]
            lines += [indent + each for each in dedent(inserted[mark]).strip().splitlines()]
        lines.append(line)
    return "\n".join(lines) + "\n"


def _item(value: Any) -> float:
    """An item of a loop; missing values are of several kinds."""
    return -1.0 if value is None or value != value else float(value)
