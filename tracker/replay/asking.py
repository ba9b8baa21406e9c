"""``tracker.replay(...)``: from a question to answers that are filed, on the engine that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracker.errors import NotFound
from tracker.replay.documents import Fidelity, Plan, PlannedRun, Question, SliceResult
from tracker.replay.executors import executor_named
from tracker.replay.planning import make_plan, read_plan, write_plan
from tracker.replay.sources import current_sources
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import decode

_WORST_FIRST: tuple[Fidelity, ...] = ("diverged", "unverified", "close", "exact")


@dataclass
class Replay:
    """What a replay is going to do, or did: its plan, and the results of its slices so far, by number."""

    plan: Plan
    results: dict[int, SliceResult] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id under which the answers are filed."""
        return self.plan.replay

    @property
    def waiting(self) -> list[int]:
        """Slices without an answer: not done yet, or failed."""
        done = {number for number, result in self.results.items() if result.outcome in ("answered", "diverged")}
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


def plan_replay(
    store: Store,
    question: Question,
    *,
    root: Path,
    workers: int | None = None,
    timeout_s: float | None = None,
    lines: Mapping[str, Collection[int]] | None = None,
) -> Replay:
    """Plan a replay of the question, with the probes that stand in the work tree at ``root``; writes nothing.

    A replay of the same question and probes that was not finished, because it or its machine was stopped, is taken up
    where it was left.
    """
    plan = make_plan(
        store,
        question,
        new_sources=current_sources(root),
        workers=workers or os.cpu_count() or 1,
        timeout_s=timeout_s,
        lines=lines,
    )
    return _unfinished(store, plan) or Replay(plan)


def execute(
    store: Store, replay: Replay, *, executor: str = "local", on_result: Callable[[SliceResult], None] | None = None
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

    run(store, replay.plan, replay.waiting, on_result=note)
    return replay


def read_replay(store: Store, replay: str) -> Replay:
    """A replay as the store has it; ``NotFound`` when it has none of this id."""
    try:
        found = Replay(read_plan(store, replay))
    except NotFound as exc:
        raise NotFound(f"{store.url} has no replay {replay}: {exc}") from exc
    for piece in found.plan.slices:
        result = _result(store, replay, piece.number)
        if result is not None:
            found.results[piece.number] = result
    return found


def _result(store: Store, replay: str, number: int) -> SliceResult | None:
    key = keys.replay_result(replay, number)
    try:
        return decode(store.get(key), SliceResult, key=key)
    except NotFound:
        return None


def _unfinished(store: Store, plan: Plan) -> Replay | None:
    """The latest replay of the same question with the same probes, where slices of it have no answer yet."""
    for replay in sorted(store.folders(keys.REPLAYS), reverse=True):
        try:
            found = read_replay(store, replay)
        except NotFound:
            continue
        if _asks(found.plan) == _asks(plan) and found.waiting:
            return found
    return None


def _asks(plan: Plan) -> tuple[Any, ...]:
    return plan.question, sorted((run.run, run.sources or "") for run in plan.runs if run.skipped is None)
