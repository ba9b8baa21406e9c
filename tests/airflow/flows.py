"""A project whose file is a DAG, executed in this process by ``dag.test()``."""

from __future__ import annotations

import importlib.util
import itertools
import textwrap
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import tracker
from tests.code.conftest import Repo
from tracker.read.catalog import RunView, scan
from tracker.store.base import Store
from tracker.store.open import open_store

_count = itertools.count()
IS_AIRFLOW_3 = bool(find_spec("airflow")) and version("apache-airflow").split(".")[0] != "2"
NAMES = "airflow.sdk" if IS_AIRFLOW_3 else "airflow.providers.common.compat.sdk"


def losing(store: Path) -> str:
    """A command that takes a store in a folder away, whoever writes to it meanwhile: a file stands in its place."""
    return f"n=0; until [ -f {store} ]; do n=$((n+1)); mv {store} {store}-$n; echo >{store}; done 2>/dev/null"


class Flows:
    """Where DAG files are written, and what became of their runs."""

    def __init__(self, dags_folder: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repo = Repo(dags_folder, commit=False)
        self.store_folder = folder / "store"
        monkeypatch.setenv("HINDSIGHT_STORE", str(self.store_folder))

    def load(self, text: str) -> Any:
        """The DAG of a file with this text, which is committed."""
        text = textwrap.dedent(text).replace("airflow.sdk", NAMES)
        path = self.repo.write("pipeline.py", text)
        if self.repo.git("status", "--porcelain"):
            self.repo.commit("pipeline")
        spec = importlib.util.spec_from_file_location(f"pipeline_{next(_count)}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.flow

    def test(self, text: str, **conf: Any) -> dict[str, str]:
        """Execute the DAG of a file; the state of every task instance by ``task`` or ``task[index]``."""
        done = self.load(text).test(run_conf=conf or None)
        instances = done.get_task_instances()
        return {ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in instances}

    @property
    def store(self) -> Store:
        """The store of the runs."""
        return open_store(self.store_folder, create=False)

    def runs(self) -> dict[str | None, RunView]:
        """Every run by its name."""
        return {view.document.name: view for view in scan(self.store)}

    def frame(self, *names: str) -> Any:
        """A data frame of the store."""
        return tracker.dataframe(*names, store=str(self.store_folder))
