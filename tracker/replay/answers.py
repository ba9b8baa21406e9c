"""What earlier replays have answered already, so that asking twice gives one answer and costs nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from tracker.errors import DamagedDocument, KeyNotFound
from tracker.read.source import list_parts
from tracker.replay.documents import Plan, PlannedRun, Question, Slice, SliceResult
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import decode

_DONE = ("answered", "diverged")  # the same code would diverge again in the same place


@dataclass(frozen=True)
class Answered:
    """What of a run has been answered with the same probes. ``whole``: all iterations, whatever their number."""

    replays: tuple[str, ...] = ()
    whole: bool = False
    iterations: frozenset[int] = frozenset()
    before: bool = False  # code before the loop, and outside of loops altogether
    after: bool = False


@dataclass
class Answers:
    """Finds answers in the store; every plan is read once."""

    store: Store
    _plans: dict[str, Plan | None] = field(default_factory=dict)

    def find(self, planned: PlannedRun, question: Question) -> Answered:
        """What replays whose answers stand among the run's data have said to this question.

        Only those count that ran the same code with the same probes, without changed arguments: a probe that was
        edited since is another question under an old name.
        """
        if question.overrides:
            return Answered()
        filed = self._filed(planned.run, set(planned.names))
        found = Answered()
        for replay in self._replays:
            plan = self._plan(replay)
            if plan is not None and not plan.question.overrides:
                found = self._add(found, plan, planned, question, has_values=replay in filed)
        return found

    @cached_property
    def _replays(self) -> list[str]:
        return sorted(replay for replay in self.store.folders(keys.REPLAYS) if ids.is_id(replay))

    def _filed(self, run: str, names: Collection[str]) -> set[str]:
        """The replays that filed values of these names."""
        layouts = (part.layout for part in list_parts(self.store, run))
        return {
            layout.replay
            for layout in layouts
            if layout.replay is not None and any(metric.name in names for metric in layout.metrics)
        }

    def _plan(self, replay: str) -> Plan | None:
        if replay not in self._plans:
            key = keys.replay_plan(replay)
            try:
                self._plans[replay] = decode(self.store.get(key), Plan, key=key)
            except (KeyNotFound, DamagedDocument):
                self._plans[replay] = None  # its values stay readable; they are only not known to be complete
        return self._plans[replay]

    def _add(self, found: Answered, plan: Plan, planned: PlannedRun, new: Question, *, has_values: bool) -> Answered:
        old = next((each for each in plan.runs if each.run == planned.run), None)
        if old is None or old.sources != planned.sources or old.attempt != planned.attempt:
            return found
        if _beside(plan.question, old.loop) not in ({}, _beside(new, old.loop)):
            return found  # it answered for a part of the inner iterations only
        asked = plan.question.iterations.get(old.loop or "")
        for piece, result in self._done(plan, planned.run):
            if result.values and not has_values:
                continue  # they were deleted since
            if result.fidelity == "diverged" and not set(new.ignored) <= set(plan.question.ignored):
                continue  # what differed may be what is not to be compared now
            last = old.iterations - 1 if piece.last is None else piece.last
            covered = range(piece.first, last + 1)
            everything = piece.first == 0 and piece.last is None and asked is None
            found = Answered(
                replays=(*found.replays, plan.replay) if plan.replay not in found.replays else found.replays,
                whole=found.whole or (everything and piece.is_first and piece.is_last),
                iterations=found.iterations.union(covered if asked is None else set(asked).intersection(covered)),
                before=found.before or piece.is_first,
                after=found.after or piece.is_last,
            )
        return found

    def _done(self, plan: Plan, run: str) -> Iterator[tuple[Slice, SliceResult]]:
        for piece in plan.slices:
            if piece.run != run:
                continue
            key = keys.replay_result(plan.replay, piece.number)
            try:
                result = decode(self.store.get(key), SliceResult, key=key)
            except (KeyNotFound, DamagedDocument):
                continue
            if result.outcome in _DONE:
                yield piece, result


def _beside(question: Question, loop: str | None) -> dict[str, tuple[int, ...]]:
    """What is asked of loops other than the checkpointed one."""
    return {name: indices for name, indices in question.iterations.items() if name != loop}
