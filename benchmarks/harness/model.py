"""The words of a benchmark: a subject is what is measured, a case is a benchmark, a row is one figure of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

Names = dict[str, Any]
"""What the statements of a subject may refer to; made by ``begin``."""

Figures = dict[str, float | str]
"""Figures by the key of their row; under ``remark`` a sentence that the reader of the table must know."""


@dataclass(frozen=True)
class Subject:
    """One library, with the statements that its user would write.

    Statements are source text, compiled into the same timing loop for every subject, so that no wrapper of ours is
    measured. They may use ``name``, ``value``, ``row`` (ten metrics by name), ``epoch``, ``step`` and ``phase``.
    """

    name: str
    requirements: tuple[str, ...] = ()
    distribution: str = ""  # whose version is reported
    module: str = ""  # what a user imports
    begin: Callable[[], Names] | None = None  # import the library and start a run in the current folder
    end: Callable[[Names], None] = lambda names: None  # everything is on disk when this returns
    outer: str = "range(epochs)"  # how this library's user writes the two loops
    inner: str = "range(steps)"
    log: str = ""  # one scalar
    log_row: str = ""  # ten metrics of a step
    log_labels: str = ""  # one scalar that carries a label, where the library has labels
    record: str = ""  # ten metrics of a step with epoch, step and phase, for the size on disk; else as log_row
    stores: tuple[str, ...] = ()  # globs of everything the library keeps for this run, from the current folder
    data: tuple[str, ...] = ()  # globs of those files that hold the values
    kept: Callable[[], int] | None = None  # how many scalars named "loss" a reader finds after a kill
    frame: Callable[[list[str]], Any] | None = None  # a data frame of the named metrics
    frame_modules: tuple[str, ...] = ()  # what a data frame needs loaded, beside pandas
    calls: dict[str, int] = field(default_factory=dict)  # scale by case where the case's own would take minutes
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        return self.name == "hindsight"


@dataclass(frozen=True)
class Row:
    """One figure of a case, what it may be at most (or at least), and how it is shown."""

    key: str
    what: str
    unit: str
    budget: float | None = None
    better: Literal["less", "more"] = "less"
    digits: int = 3
    compare: bool = True  # not where subjects are measured at different scales

    def met(self, value: float) -> bool:
        if self.budget is None:
            return True
        return value <= self.budget if self.better == "less" else value >= self.budget

    def ratio(self, ours: float, other: float) -> float | None:
        """How many times better ours is; below 1 the other one is better."""
        worse, good = (other, ours) if self.better == "less" else (ours, other)
        return worse / good if good > 0 else None


@dataclass(frozen=True)
class Case:
    """One benchmark: ``measure(subject, round)`` runs in a process of its own and returns figures by row key."""

    name: str
    rows: tuple[Row, ...]
    subjects: tuple[str, ...]
    measure: Callable[[Subject, int], Figures]
    rounds: int = 3
    baseline: str = ""  # what the column "baseline" stands for in this case
    keep_folder: bool = False  # later rounds of a subject find what the first one built
    timeout_s: float = 180.0
    needs: tuple[str, ...] = ()  # what its trainings import, beside the library


def load_subject(name: str) -> Subject:
    """The subject in ``subjects/<name>.py``."""
    subject: Subject = _load(f"subjects.{name}").SUBJECT
    return subject


def load_case(name: str) -> Case:
    """The benchmark in ``cases/<name>.py``."""
    case: Case = _load(f"cases.{name}").CASE
    return case


def _load(module: str) -> ModuleType:
    return importlib.import_module(module)


def matching_bytes(globs: tuple[str, ...], *, below: Path) -> int:
    """Bytes of all files that the globs name; a folder counts with everything in it."""
    files: set[Path] = set()
    for pattern in globs:
        for path in below.glob(pattern):
            files |= {path} if path.is_file() else {file for file in path.rglob("*") if file.is_file()}
    return sum(file.stat().st_size for file in files if not file.is_symlink())
