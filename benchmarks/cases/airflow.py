"""What Airflow pays: parsing a DAG file, a task instance with the listener, a nested call of ``@tracked``."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from pathlib import Path

from harness import airflow_costs
from harness.model import Case, Figures, Row, Subject
from harness.processes import PROJECT, MeasurementFailed

_FILES = ("hindsight_replay", "sync_store", "train_digits")
_TIMES = 3


def measure(subject: Subject, round_number: int) -> Figures:
    """Airflow needs an environment of its own: that of ``make airflow-environment``, or the one that is named."""
    python = os.environ.get("BENCH_AIRFLOW") or str(PROJECT / ".venv-airflow" / "bin" / "python")
    if not Path(python).exists():
        return {"remark": "not measured: Airflow is not installed (make airflow-environment does that)"}
    _figure(python, "parse", str(PROJECT / "dags" / "sync_store.py"))  # bytecode is there
    found: Figures = {}
    for name in _FILES:
        file = str(PROJECT / "dags" / f"{name}.py")
        found[name] = statistics.median(_figure(python, "parse", file)["processor"] for _ in range(_TIMES))
    for kind in ("preloaded", "plain"):
        task = _figure(python, "task", kind)
        found[kind], found[f"{kind}_wall"] = task["processor"], task["wall"]
    found["nested"] = _figure(python, "nested")["processor"]
    return found


def _figure(python: str, *words: str) -> dict[str, float]:
    home, answer = Path.cwd() / "home", Path("found.json")
    own = {
        "AIRFLOW_HOME": str(home),
        "HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__HINDSIGHT__LISTENER": "True",
        "HINDSIGHT_STORE": str(Path.cwd() / "store"),
    }
    answer.unlink(missing_ok=True)
    command = [python, "-W", "ignore", airflow_costs.__file__, *words]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True)
    if done.returncode:
        raise MeasurementFailed(done.stderr.strip()[-300:])
    figures: dict[str, float] = json.loads(answer.read_text())
    return figures


CASE = Case(
    name="airflow",
    rows=(
        Row("hindsight_replay", "Airflow parses hindsight_replay.py, beyond airflow.sdk", "ms", budget=100),
        Row("sync_store", "… sync_store.py", "ms", budget=100),
        Row("train_digits", "… train_digits.py, with what Airflow itself loads for a @task", "ms", budget=100),
        Row("preloaded", "listener, processor time of a task instance, imports in the scheduler", "ms", budget=50),
        Row("preloaded_wall", "… until its process ends", "ms"),
        Row("plain", "… imports in the task's own process", "ms"),
        Row("plain_wall", "… until its process ends", "ms"),
        Row("nested", "@tracked on an empty function in a task of Airflow, inside of its run", "µs", budget=30),
    ),
    subjects=("hindsight",),
    measure=measure,
    rounds=2,
)
