"""The difference between two runs names everything that differs, and what cannot be known."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tracker.code.diff import RunFacts, diff_mappings, diff_runs
from tracker.code.snapshot import take_snapshot
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, Entry, Packages, StartDocument

if TYPE_CHECKING:
    from conftest import Repo


def _start(**changes: object) -> StartDocument:
    start = StartDocument(
        run="r",
        attempt="a",
        started=0.0,
        entry=Entry(kind="script", script="train.py"),
        pid=os.getpid(),
        writer="hindsight",
        environment={"OMP_NUM_THREADS": "1"},
        packages=Packages(python="3.11.1", implementation="cpython", executable="x", distributions={"numpy": "1"}),
    )
    return replace(start, **changes)


def test_everything_that_differs_is_named(repo: Repo, store: Store) -> None:
    """Code, arguments, command line, environment and packages are compared part by part."""
    old = RunFacts(run="a", start=_start(), code=take_snapshot(repo.folder, store), arguments={"lr": 0.1, "n": 1})
    repo.write("train.py", "changed\n")
    start = _start(
        environment={"OMP_NUM_THREADS": "2"},
        entry=Entry(kind="script", script="train.py", argv=("--fast",)),
        packages=Packages(python="3.12.0", implementation="cpython", executable="x", distributions={"numpy": "2"}),
    )
    new = RunFacts(run="b", start=start, code=take_snapshot(repo.folder, store), arguments={"lr": 0.2, "n": 1})

    found = diff_runs(store, old, new)

    assert found
    assert "+changed" in found.code.text
    assert found.code.same is False
    assert [(change.name, change.old, change.new) for change in found.arguments] == [("lr", 0.1, 0.2)]
    assert [change.name for change in found.entry] == ["argv"]
    assert [change.name for change in found.environment] == ["OMP_NUM_THREADS"]
    assert [change.name for change in found.packages] == ["(python)", "numpy"]


def test_equal_runs_do_not_differ(repo: Repo, store: Store) -> None:
    """Two runs of one code with the same settings have no difference."""
    facts = RunFacts(run="a", start=_start(), code=take_snapshot(repo.folder, store), arguments={"x": math.nan})

    assert not diff_runs(store, facts, replace(facts, run="b"))


def test_what_cannot_be_compared_is_said(repo: Repo, store: Store) -> None:
    """A run without code, or whose code is gone, is not called equal."""
    code = take_snapshot(repo.folder, store)
    lost = CodeDocument(snapshot="0" * 40)

    without = diff_runs(store, RunFacts(run="a"), RunFacts(run="b", code=code))
    gone = diff_runs(store, RunFacts(run="a", code=code), RunFacts(run="b", code=lost))

    assert without.code.problem == "the old run lacks a code snapshot"
    assert without
    assert gone.code.same is None
    assert gone.code.problem


def test_names_of_one_side_are_told_from_none() -> None:
    """A value of None is not the same as no value, and 1 is not 1.0 nor True."""
    changes = diff_mappings({"a": None, "b": 1, "c": 1}, {"b": 1.0, "c": True, "d": None})

    assert [(change.name, change.only_in) for change in changes] == [
        ("a", "old"),
        ("b", None),
        ("c", None),
        ("d", "new"),
    ]
