"""Trainings in a project of their own: started as their user would, with the tracker and without, and replayed."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.processes import BENCHMARKS
from harness.scripts import ScriptFailed

_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
_WHO = ("-c", "user.name=Benchmark", "-c", "user.email=benchmark@localhost", "-c", "init.defaultBranch=main")


def source_of(training: str) -> str:
    """The text of ``trainings/<training>.py``."""
    return (BENCHMARKS / "trainings" / f"{training}.py").read_text()


def untracked(source: str) -> str:
    """The script as it was before anybody tracked it: no import, no log statements, plain loops."""
    kept = [line for line in source.splitlines() if not re.match(r"\s*(import tracker|tracker\.log\()", line)]
    text = re.sub(r'tracker\.loop\("\w+", (.*)\):', r"\1:", "\n".join(kept) + "\n")
    return re.sub(r"with tracker\.checkpointing\(.*\):", "if True:", text)


@dataclass(frozen=True)
class Spent:
    """Wall time of a process, and processor time of all its threads and children."""

    wall_s: float
    cpu_s: float

    def over(self, other: Spent) -> dict[str, float]:
        """How many per cent more than the other one, by both clocks."""
        return {"wall": (self.wall_s / other.wall_s - 1) * 100, "cpu": (self.cpu_s / other.cpu_s - 1) * 100}


@dataclass(frozen=True)
class Project:
    """A git repository with a script ``train.py``, and a store beside it."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-store")

    def commit(self, source: str) -> None:
        """Write the script and commit it; the repository is made when it is not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "train.py").write_text(source)
        for command in (["init", "-q"], ["add", "train.py"], ["commit", "-q", "--no-verify", "-m", "A version"]):
            subprocess.run(["git", *_WHO, *command], cwd=self.folder, check=True)

    def train(self, *arguments: str, **environment: str) -> Spent:
        """Run the script to its end."""
        began, cpu_s = time.perf_counter(), _children_cpu_s()
        run(
            ["train.py", *arguments],
            folder=self.folder,
            environment={"HINDSIGHT_STORE": str(self.store), **environment},
        )
        return Spent(time.perf_counter() - began, _children_cpu_s() - cpu_s)

    def add(self, *lines: str, at: str) -> None:
        """Put statements where the comment ``at`` stands in the script of the work tree."""
        script = self.folder / "train.py"
        text = re.sub(
            rf"( *)# {at}\n", lambda found: "".join(f"{found[1]}{line}\n" for line in lines), script.read_text()
        )
        script.write_text(text)

    def replay(self, name: str, *options: str) -> Replayed:
        """``hindsight replay`` of the project's runs."""
        began = time.perf_counter()
        command = ["-m", "tracker", "replay", name, "--json", "--store", str(self.store), *options]
        text = run(command, folder=self.folder, environment={})
        return Replayed(json.loads(text), time.perf_counter() - began)


@dataclass(frozen=True)
class Replayed:
    """What ``hindsight replay --json`` said, and how long the command took."""

    answer: dict[str, Any]
    command_s: float

    @property
    def slices_s(self) -> float:
        """The time of all slices, as if one worker had done them."""
        return float(sum(run["duration_s"] for run in self.answer["runs"]))

    @property
    def values(self) -> int:
        return int(sum(run["values"] for run in self.answer["runs"]))

    @property
    def exact(self) -> int:
        """How many runs were answered exactly."""
        return sum(run["fidelity"] == "exact" for run in self.answer["runs"])

    def problem(self) -> str:
        """Why a run was not answered exactly; empty when all were."""
        wrong = [run for run in self.answer["runs"] if run["fidelity"] != "exact"]
        return "; ".join(f"{run['state']}: {run['reason']}"[:200] for run in wrong)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(command: list[str], *, folder: Path, environment: Mapping[str, str], answer: str = "") -> str:
    """Run this interpreter in the folder, with one thread for arithmetic; its ``python`` is the first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    variables = {**os.environ, **_ONE_THREAD, "PATH": path, **environment}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=variables, input=answer, capture_output=True, text=True
    )
    if done.returncode and not done.stdout.startswith("{"):
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        telling = [line for line in lines if "error" in line.lower()] or lines
        raise ScriptFailed(telling[-1][:160] if lines else f"{command[0]} ended with exit code {done.returncode}")
    return done.stdout
