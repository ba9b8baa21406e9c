"""Real programs in real git repositories, recorded in processes of their own, and plans made by hand to replay them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.code.conftest import Repo
from tracker.read.catalog import RunView, scan
from tracker.replay.documents import Plan, PlannedRun, Question, Slice
from tracker.store.base import Store
from tracker.store.ids import new_id
from tracker.store.objects import put_object
from tracker.store.open import open_store

TRAIN = """
import random, sys
import tracker

random.seed({seed})
weight = 0.0
for epoch in tracker.loop("epoch", range(4)):
    for step in tracker.loop("step", range(5)):
        grad = random.random() - weight
        weight += 0.1 * grad
        tracker.log("loss", grad * grad)
    tracker.log("accuracy", weight)
tracker.log("final", weight)
"""


@dataclass(frozen=True)
class Project:
    """A repository with a script, and a store beside it."""

    repo: Repo
    store: Store

    @classmethod
    def make(cls, folder: Path, code: str) -> Project:
        repo = Repo(folder / "project", commit=False)
        repo.write("train.py", textwrap.dedent(code))
        repo.write(".gitignore", "data/\n__pycache__/\n")
        repo.commit("first")
        return cls(repo, open_store(folder / "store"))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the script as its user would."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("HINDSIGHT_")}
        capture = "code,environment,inputs"
        own = {"HINDSIGHT_STORE": self.store.url, "HINDSIGHT_CAPTURE": capture, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            [sys.executable, "train.py", *arguments],
            cwd=self.repo.folder, env=kept | own | environment, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def record(self, *arguments: str, code: int = 0, **environment: str) -> RunView:
        """Run the script to its end; the run that it recorded."""
        process = self.start(*arguments, **environment)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == code, errors
        return self.latest()

    def latest(self) -> RunView:
        return scan(self.store)[-1]

    def probed(self, after: str, probe: str) -> str:
        """The script with a line put behind the first that contains a text, indented as that is."""
        lines = (self.repo.folder / "train.py").read_text().splitlines(keepends=True)
        at = next(number for number, line in enumerate(lines) if after in line)
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        return "".join([*lines[: at + 1], f"{indent}{probe}\n", *lines[at + 1 :]])

    def plan(
        self,
        view: RunView,
        source: str | dict[str, str],
        *names: str,
        slices: tuple[Slice, ...] = (),
        question: Question | None = None,
        timeout_s: float | None = 60,
        **about: Any,
    ) -> Plan:
        """A plan for one run with this text for its script."""
        sources = {"train.py": source} if isinstance(source, str) else source
        assert view.code is not None
        run = PlannedRun(
            run=view.run,
            attempt=view.attempts[-1].attempt,
            snapshot=view.code.snapshot,
            sources=put_object(self.store, msgspec.json.encode(sources)),
            names=names,
            **about,
        )
        return Plan(
            replay=new_id(),
            created=0.0,
            question=question or Question(names=names),
            workers=1,
            runs=(run,),
            slices=slices or (Slice(number=0, run=view.run),),
            timeout_s=timeout_s,
        )


def fingerprint(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file of a folder with its mode, its time of change and its bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (info.st_mode, info.st_mtime_ns, content)
    return found
