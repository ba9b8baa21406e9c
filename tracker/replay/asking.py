"""``tracker.replay(...)``: from a question to answers that are filed, on the engine that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from tracker.code.project import project_root
from tracker.errors import Corrupt, NotFound
from tracker.read.catalog import resolve_id
from tracker.record.lifecycle import default_store
from tracker.replay.documents import Fidelity, Plan, PlannedRun, Question, SliceResult
from tracker.replay.executors import executor_named
from tracker.replay.planning import make_plan, read_plan, write_plan
from tracker.replay.questions import parse_names
from tracker.replay.slices import DONE, read_result
from tracker.replay.sources import current_sources
from tracker.store import keys
from tracker.store.base import Info, Store

_PLANNING_TRIES = 3
_WORST_FIRST: tuple[Fidelity, ...] = ("diverged", "unverified", "close", "exact")


@dataclass
class Replay:
    """What a replay is going to do, or did: its plan, and the results of its slices so far, by number."""

    plan: Plan
    results: dict[int, SliceResult] = field(default_factory=dict)
    later: tuple[PlannedRun, ...] = ()  # of the question; another replay has to ask them

    @property
    def id(self) -> str:
        """The id under which the answers are filed."""
        return self.plan.replay

    @property
    def waiting(self) -> list[int]:
        """Slices without an answer: not done yet, or failed."""
        done = {number for number, result in self.results.items() if result.outcome in DONE}
        return [piece.number for piece in self.plan.slices if piece.number not in done]

    def results_of(self, run: str) -> list[SliceResult]:
        """The results of one run's slices, in order."""
        return [self.results[piece.number] for piece in self.plan.slices_of(run) if piece.number in self.results]

    def fidelity(self, run: str) -> Fidelity | None:
        """The lowest fidelity among the slices of a run; ``None`` where one has no answer."""
        results = self.results_of(run)
        if len(results) < len(self.plan.slices_of(run)) or any(r.outcome in ("failed", "timed out") for r in results):
            return None
        return min((result.fidelity for result in results), key=_WORST_FIRST.index, default=None)

    def state(self, planned: PlannedRun) -> str:
        """How a run stands: its fidelity, ``skipped``, ``failed``, ``waiting``."""
        if planned.skipped is not None:
            return "skipped"
        results = self.results_of(planned.run)
        if any(result.outcome in ("failed", "timed out") for result in results):
            return "failed"
        return self.fidelity(planned.run) or "waiting"


def replay(
    *names: str,
    where: str | None = None,
    runs: Collection[str] = (),
    iterations: Mapping[str, Collection[int]] | None = None,
    overrides: Mapping[str, Any] | None = None,
    ignore: Collection[str] = (),
    executor: str = "local",
    workers: int | None = None,
    timeout_s: float | None = None,
    environment: Literal["current", "recorded"] = "current",
    dry_run: bool = False,
    root: str | os.PathLike[str] | None = None,
    store: Store | str | os.PathLike[str] | None = None,
    storage_options: dict[str, Any] | None = None,
    on_result: Callable[[SliceResult], None] | None = None,
) -> Replay:
    """Ask past runs for values that they did not log, and file the answers beside those that they did.

    ``names`` are logged by log statements of the code in the work tree (at ``root``, default: the project of the
    working directory): each is put into the code of every past run that ``where`` and ``runs`` select, and what must be
    executed is executed, from the runs' checkpoints, in worktrees of its own and ``workers`` at a time (default: the
    processors). ``iterations`` keeps to some iterations of a loop, ``overrides`` changes arguments, ``ignore``
    names metrics that differ by nature, such as seconds, and are not compared, ``dry_run`` only plans.
    ``environment="recorded"`` executes each run with the Python and the packages that were recorded, which uv installs
    where they are not kept yet. ``on_result`` is called with the result of each slice as it comes.

    Blocks until all of it is done. Asking again does only what has no answer yet, also after a kill. ``NameNotFound``
    for a name that no log statement has; what goes wrong with one run stands in its results and stops no other.

    ::

        tracker.replay("grad_norm", where="lr > 1e-3")
        tracker.dataframe("lr", "loss", "grad_norm", "fidelity")
    """
    opened = default_store(store, storage_options)
    question = Question(
        names=parse_names(names),
        where=where,
        runs=tuple(resolve_id(opened, run) for run in runs),
        iterations={loop: tuple(sorted(set(indices))) for loop, indices in (iterations or {}).items()},
        overrides=dict(overrides or {}),
        ignored=tuple(sorted(set(ignore))),
    )
    folder = project_root() if root is None else Path(root)
    planned = plan_replay(opened, question, root=folder, workers=workers, timeout_s=timeout_s, environment=environment)
    return (
        planned
        if dry_run
        else execute(opened, planned, executor=executor, on_result=on_result, storage_options=storage_options)
    )


def plan_replay(
    store: Store,
    question: Question,
    *,
    root: Path | None = None,
    sources: Mapping[str, str] | None = None,
    project: str | None = None,
    workers: int | None = None,
    timeout_s: float | None = None,
    environment: Literal["current", "recorded"] = "current",
    shorten: Callable[[Plan], Plan] | None = None,
) -> Replay:
    """Plan a replay of the question, with the probes that stand in the work tree at ``root``, or in ``sources`` that
    were read from elsewhere (``find_new_probes``); writes nothing. ``project`` leaves out runs of others.

    A replay of the same question and probes that was not finished, because it or its machine was stopped, is taken up
    where it was left, if what is left of it is asked now, too: ``shorten`` may leave runs for later.
    """
    new_sources = current_sources(root or project_root()) if sources is None else sources
    for _ in range(_PLANNING_TRIES):
        told = _results(store)
        plan = make_plan(
            store,
            question,
            new_sources=new_sources,
            workers=workers or os.cpu_count() or 1,
            timeout_s=timeout_s,
            project=project,
        )
        plan = msgspec.structs.replace(plan, environment=environment)
        plan = shorten(plan) if shorten is not None else plan
        found = _unfinished(store, plan)
        if found is not None or told == _results(store):
            break  # else slices ended meanwhile that the plan may hold once more
    found = found or Replay(plan)
    found.later = tuple(run for run in plan.runs if run.later)
    return found


def execute(
    store: Store,
    replay: Replay,
    *,
    executor: str = "local",
    on_result: Callable[[SliceResult], None] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Replay:
    """Do what is left of a replay; slices that have an answer are not done again. The store holds every answer as it
    comes, so killing this loses nothing but slices that were under way.
    """
    if not replay.waiting:
        return replay
    run = executor_named(executor)
    write_plan(store, replay.plan)

    def note(result: SliceResult) -> None:
        replay.results[result.number] = result
        if on_result is not None:
            on_result(result)

    run(store, replay.plan, replay.waiting, on_result=note, storage_options=storage_options)
    return replay


def read_replay(store: Store, replay: str) -> Replay:
    """A replay as the store has it; ``NotFound`` when it has none of this id."""
    try:
        plan = read_plan(store, replay)
    except NotFound as exc:
        raise NotFound(f"{store.url} has no replay {replay}: {exc}") from exc
    return _with_results(store, plan)


def _with_results(store: Store, plan: Plan) -> Replay:
    found = Replay(plan)
    for piece in plan.slices:
        result = read_result(store, plan.replay, piece.number)
        if result is not None:
            found.results[piece.number] = result
    return found


def _unfinished(store: Store, plan: Plan) -> Replay | None:
    """The latest replay of the same question that has all of the plan, and nothing else is left of it."""
    wanted = versions(plan)
    runs = {run for run, _ in wanted}
    for earlier in earlier_plans(store, plan) if wanted else []:
        if wanted <= versions(earlier):
            found = _with_results(store, earlier)
            left = {piece.run for piece in earlier.slices if piece.number in set(found.waiting)}
            if left and left <= runs:
                return found
    return None


def earlier_plans(store: Store, plan: Plan) -> Iterator[Plan]:
    """The stored plans of the same question, the latest first. One that cannot be read is left out."""
    for replay in sorted(store.folders(keys.REPLAYS), reverse=True):
        try:
            found = read_plan(store, replay)
        except (NotFound, Corrupt):
            continue
        if (found.question, found.environment) == (plan.question, plan.environment):
            yield found


def _results(store: Store) -> set[Info]:
    """What replays have said so far of their slices."""
    return {info for info in store.list(keys.REPLAYS) if not info.key.endswith("/plan.json")}


def versions(plan: Plan) -> set[tuple[str, str]]:
    """The runs that are executed, each with its probed code."""
    return {(run.run, run.sources or "") for run in plan.runs if run.skipped is None}
