"""A real Airflow in a folder of its own: a migrated database, copied per test, and a running scheduler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.airflow.flows import Flows
from tests.airflow.server import Airflow, running
from tests.slurm.cluster import Cluster, require
from tests.slurm.cluster import running as running_slurm

_HOME = Path(tempfile.mkdtemp(prefix="hindsight-airflow-"))
_SETTINGS = {
    "AIRFLOW_HOME": str(_HOME),
    "HOME": str(_HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(_HOME / "dags"),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
}
collect_ignore_glob = [] if find_spec("airflow") else ["*"]

if find_spec("airflow"):
    os.environ.update(_SETTINGS)  # before anything of Airflow is imported
    for name in [name for name in os.environ if name.startswith("HINDSIGHT_")]:
        del os.environ[name]
else:
    print("tests/airflow: not run, because Airflow is not installed (make test-airflow)", file=sys.stderr)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Airflow's own warnings are not ours to mend."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))
            item.add_marker(pytest.mark.timeout(1200))  # a loaded machine needs minutes to start it


def pytest_unconfigure() -> None:
    """Nothing stays behind."""
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated() -> Path:
    """A database as a new installation has it."""
    (_HOME / "dags").mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, timeout=300)
    template = _HOME / "template.db"
    shutil.copy(_HOME / "airflow.db", template)
    return template


@pytest.fixture
def flows(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flows:
    """A project with a DAG file, a store, and an Airflow that has seen nothing yet."""
    shutil.copy(migrated, _HOME / "airflow.db")
    shutil.rmtree(_HOME / "dags", ignore_errors=True)
    return Flows(_HOME / "dags", tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Airflow]:
    """A running Airflow whose configuration names a store by a connection."""
    home = tmp_path_factory.mktemp("running")
    shutil.copy(migrated, home / "airflow.db")
    connection = {"conn_type": "hindsight", "host": str(home / "store")}
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("AIRFLOW", "HINDSIGHT"))}
    environment["AIRFLOW_CONN_HINDSIGHT_DEFAULT"] = json.dumps(connection)
    environment["AIRFLOW__HINDSIGHT__LISTENER"] = "True"
    environment["AIRFLOW__HINDSIGHT__DAG_TAGS"] = "watched"
    environment["SLURM_CONF"] = str(home / "slurm.conf")  # tests of Slurm put it there
    with running(home, environment) as found:
        yield found


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real Slurm; skipped where it cannot be started."""
    require()
    with running_slurm() as found:
        yield found
