"""Programs of users, run as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracker.read.catalog import RunView, scan
from tracker.store.open import open_store


@dataclass(frozen=True)
class Done:
    """How a program ended, and the store it recorded into."""

    code: int
    out: str
    err: str
    store: Path

    def runs(self) -> list[RunView]:
        """What the store says of its runs, oldest first."""
        return scan(open_store(self.store, create=False))

    def run(self) -> RunView:
        """The only one."""
        (found,) = self.runs()
        return found


def run_script(folder: Path, code: str, *arguments: str, prefix: tuple[str, ...] = (), **environment: str) -> Done:
    """Run code as ``train.py`` in a folder, with a store of its own and nothing captured."""
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(textwrap.dedent(code))
    store = folder / "store"
    own = {"HINDSIGHT_STORE": str(store), "HINDSIGHT_CAPTURE": "", "HINDSIGHT_SPOOL": str(folder / "spool")}
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HINDSIGHT_")}
    done = subprocess.run(
        [*prefix, sys.executable, "train.py", *arguments],
        cwd=folder, env=kept | own | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr, store)


def read(done: Done, name: str) -> list[Any]:
    """All values of a metric in the store, over all its runs."""
    from tests.record import reading

    store = open_store(done.store, create=False)
    return [value for view in done.runs() for value in reading.values(store, view.run, name)]
