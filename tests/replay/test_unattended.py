"""What replays that nobody watches are asked, and what stays within their budget."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.code.conftest import Repo
from tests.replay.recorded import Project
from tracker.errors import InputError
from tracker.read.catalog import RunView, scan
from tracker.replay.asking import Replay, execute
from tracker.replay.documents import Plan, PlannedRun, Question, Slice
from tracker.replay.planning import write_plan
from tracker.replay.summary import settle, watch_of
from tracker.replay.unattended import plan_within, read_question, trim, why_nothing
from tracker.replay.watching import MOST_TRIES, find_new_probes
from tracker.store import keys
from tracker.store.documents import encode
from tracker.store.open import open_store

# A run with the seed 0 goes on until its standard input ends.
TRAIN = """
import sys
import tracker
seed = int(tracker.arg("seed", 1))
if seed == 0:
    sys.stdin.readline()
tracker.log("loss", seed)
"""


def plan() -> Plan:
    """Three runs of an hour each, two slices a run."""
    runs = tuple(PlannedRun(run=name, attempt="a") for name in "abc")
    slices = tuple(Slice(number=i, run="abc"[i // 2], estimate_s=1800.0) for i in range(6))
    return Plan(replay="r", created=0.0, question=Question(names=("x",)), workers=1, runs=runs, slices=slices)


@pytest.mark.parametrize(
    ("budget", "kept"),
    [({}, "abc"), ({"max_runs": 2}, "bc"), ({"max_cpu_hours": 1.5}, "c"), ({"max_cpu_hours": 0.5}, "")],
)
def test_the_latest_runs_that_fit_into_a_budget(budget: dict[str, float], kept: str) -> None:
    """Of a run all slices, or none; what is left out says why."""
    trimmed = trim(plan(), **budget)

    assert "".join(run.run for run in trimmed.runs if run.skipped is None) == kept
    assert {piece.run for piece in trimmed.slices} == set(kept)
    left_out = [run for run in trimmed.runs if run.later]
    assert {run.run for run in left_out} == {"a", "b", "c"} - set(kept)
    assert all(str(run.skipped).startswith("left out by max_") for run in left_out)


def test_a_question_needs_a_repository() -> None:
    """What is missing is named, with where to set it."""
    with pytest.raises(InputError, match="hindsight_repository"):
        read_question(open_store("memory://no-repository"), {})


def test_metrics_that_differ_by_nature(tmp_path: Path) -> None:
    """As lines or between commas, as a form gives them."""
    repo = Repo(tmp_path / "project", commit=False)
    repo.write("train.py", "import tracker\ntracker.log('x', 1)\n")
    repo.commit("first")
    branch = repo.git("symbolic-ref", "--short", "HEAD").strip()
    params = {"names": "x", "ignore": "seconds, pid\nhost", "repository": str(repo.folder), "branch": branch}

    asked = read_question(open_store("memory://ignored"), params)

    assert asked is not None
    assert asked.question.ignored == ("host", "pid", "seconds")


def recorded(folder: Path, *seeds: int) -> Project:
    """Runs of a script that lacks the probe."""
    project = Project.make(folder, TRAIN)
    for seed in seeds:
        project.record("--kwargs", f"seed={seed}")
    return project


def push(project: Project, probe: str) -> None:
    """Commit the probe to the branch."""
    project.repo.write("train.py", project.probed('"loss"', f"tracker.log('probe', {probe})"))
    project.repo.commit("a probe")


def planned_once(project: Project, **budget: float) -> tuple[Replay, dict[str, Any] | None]:
    """What a schedule plans."""
    params = {"repository": str(project.repo.folder), "workers": 1, **budget}
    asked = read_question(project.store, params)
    assert asked is not None
    planned = plan_within(project.store, asked, params)
    return planned, watch_of(asked.probes, planned)


def ask_once(project: Project, **budget: float) -> list[str]:
    """What a schedule does each time; the states of the runs that were asked."""
    planned, watch = planned_once(project, **budget)
    execute(project.store, planned)
    states = [planned.state(run) for run in planned.plan.runs if run.skipped is None]
    settle(project.store, watch, failed="failed" in states)
    return states


def is_new(project: Project) -> bool:
    """Whether the probe will be asked again."""
    return bool(find_new_probes(project.repo.folder, "main", project.store).names)


@pytest.mark.slow
def test_a_budget_leaves_no_run_unasked(tmp_path: Path) -> None:
    """With more runs than tries, the latest of which fails always: all others are asked, and then it is given up."""
    last = MOST_TRIES + 2
    project = recorded(tmp_path, *range(1, last + 1))
    push(project, f"1 / (seed - {last})")

    assert [ask_once(project, max_runs=1) for _ in range(last)] == [["failed"], *[["exact"]] * (last - 1)]
    for _ in range(MOST_TRIES - 1):  # the last time only the one that had failed was left out: that was a try
        assert is_new(project)
        assert ask_once(project, max_runs=1) == ["failed"]
    assert not is_new(project)


def test_a_budget_that_no_run_fits_into_says_so(tmp_path: Path) -> None:
    """The probe stays new, however often it is looked at."""
    project = recorded(tmp_path, 1)
    push(project, "seed")

    for _ in range(MOST_TRIES + 1):
        planned, watch = planned_once(project, max_cpu_hours=0.0)
        settle(project.store, watch, failed=False)

    assert (
        why_nothing(planned)
        == "no run can be asked now: 1 of them: left out by max_cpu_hours=0, which it exceeds alone"
    )
    assert is_new(project)


def test_a_run_that_goes_on_is_asked_when_it_has_ended(tmp_path: Path) -> None:
    """Until then the probe stays new. One whose own code has the probe is not waited for."""
    project = recorded(tmp_path, 1)
    with project.start("--kwargs", "seed=0") as first:
        going_on = code_of_latest(project, after=1)
        push(project, "seed")
        with project.start("--kwargs", "seed=0"):
            code_of_latest(project, after=2)

            assert [run.run for run in planned_once(project)[0].later] == [going_on]
            assert ask_once(project) == ["exact"]
            assert why_nothing(planned_once(project)[0]) == "no run can be asked now: 1 of them: it is still running"
            first.communicate("now", timeout=60)
            assert is_new(project)
            assert ask_once(project) == ["exact"]
            assert not is_new(project)


def test_a_run_that_goes_on_keeps_no_other_failing(tmp_path: Path) -> None:
    """Another one fails whenever it is asked: it has its tries, and the one that goes on is asked when it has ended."""
    project = recorded(tmp_path, 1)
    with project.start("--kwargs", "seed=0") as process:
        code_of_latest(project, after=1)
        push(project, "1 / (seed - 1)")
        states = [ask_once(project) for _ in range(MOST_TRIES + 1)]
        process.communicate("now", timeout=60)

    assert states == [["failed"]] * MOST_TRIES + [[]]
    assert is_new(project)
    assert ask_once(project) == ["exact"]
    assert not is_new(project)


def test_a_run_that_never_fits_into_the_budget_waits_for_no_turn() -> None:
    """Else another one, which fails whenever it is asked, would be asked for ever."""
    fits = trim(plan(), max_cpu_hours=0.5)

    assert [run.tried for run in fits.runs] == [True] * 3
    assert [run.tried for run in trim(plan(), max_cpu_hours=1.5).runs] == [False] * 3


def test_a_run_without_any_code_is_not_waited_for(tmp_path: Path) -> None:
    """Unless it has just begun: its code may still come."""
    project = recorded(tmp_path, 1)
    with project.start("--kwargs", "seed=0", HINDSIGHT_CAPTURE="inputs") as process:
        view = start_of_latest(project, after=1)
        push(project, "seed")
        assert len(planned_once(project)[0].later) == 1
        document = replace(view.document, created=view.document.created - 3600.0)
        project.store.put(keys.run_document(view.run), encode(document))

        assert not planned_once(project)[0].later
        process.communicate("now", timeout=60)


def test_a_smaller_budget_leaves_the_plan_of_another_alone(tmp_path: Path) -> None:
    """Three runs are planned, and are at work; who asks for one of them gets a replay of its own."""
    project = recorded(tmp_path, 1, 2, 3)
    push(project, "seed")
    large, _ = planned_once(project)
    write_plan(project.store, large.plan)

    small, _ = planned_once(project, max_runs=1)

    assert small.id != large.id
    assert [len(each.plan.slices) for each in (large, small)] == [3, 1]
    assert planned_once(project, max_runs=3)[0].id == large.id, "it is taken up where the budget has room for it"


def start_of_latest(project: Project, *, after: int) -> RunView:
    """The run that comes after so many, once its start is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        runs = scan(project.store)
        if len(runs) > after and runs[-1].start is not None:
            return runs[-1]
        time.sleep(0.05)
    raise AssertionError("no run begins")


def code_of_latest(project: Project, *, after: int) -> str:
    """The id of the run that comes after so many, once its code is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        runs = scan(project.store)
        if len(runs) > after and runs[-1].code is not None and runs[-1].start is not None:
            return runs[-1].run
        time.sleep(0.05)
    raise AssertionError("no run begins")
