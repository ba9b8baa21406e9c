"""What a scheduled replay is asked, from the parameters of its form, and the plan for it within a budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tracker.errors import InputError
from tracker.replay.asking import Replay, earlier_plans, plan_replay, read_replay, versions
from tracker.replay.branches import branch_files
from tracker.replay.documents import Plan, PlannedRun, Question
from tracker.replay.questions import ask
from tracker.replay.watching import NewProbes, find_new_probes

if TYPE_CHECKING:
    from tracker.store.base import Store

_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Asked:
    """A question with the code that answers it. ``probes`` is set where they were found by looking at the branch."""

    question: Question
    sources: Mapping[str, str]
    probes: NewProbes | None = None


def read_question(store: Store, params: Mapping[str, Any]) -> Asked | None:
    """What the parameters ask; without names, what is new on the branch; ``None`` when nothing is.

    ``InputError`` where a parameter cannot be read, or the repository is missing.
    """
    repository, branch = str(params.get("repository") or ""), str(params.get("branch") or "main")
    if not repository:
        raise InputError(
            "no repository to find probes in: set the parameter `repository`, or the Variable `hindsight_repository`, "
            "to a folder or an address of git"
        )
    names = _listed(params.get("names"))
    probes = None
    if names:
        sources: Mapping[str, str] = branch_files(repository, branch).sources
    else:
        probes = find_new_probes(repository, branch, store, project=params.get("project") or None)
        names, sources = list(probes.names), probes.sources
        if not names:
            return None
    question = ask(
        names,
        where=params.get("where") or None,
        iterations=_listed(params.get("iterations"), separator=None),
        overrides=_listed(params.get("overrides"), separator=None),
        ignored=_listed(params.get("ignore")),
    )
    return Asked(question, sources, probes)


def _listed(value: Any, separator: str | None = ",") -> list[str]:
    """A list from a form: given as one, or as lines of text (names also between commas)."""
    if not value:
        return []
    texts = value.splitlines() if isinstance(value, str) else [str(item) for item in value]
    pieces = [piece for text in texts for piece in (text.split(separator) if separator else [text])]
    return [piece.strip() for piece in pieces if piece.strip()]


def plan_within(store: Store, asked: Asked, params: Mapping[str, Any]) -> Replay:
    """The plan of a question within the budget ``max_runs`` and ``max_cpu_hours``; ``later`` has what it leaves out.

    The latest runs come first, and behind them those that an earlier replay of the question has had; those have had
    their tries where the probes say so. A replay that was stopped is taken up as it was planned, where all of it is
    within the budget.
    """
    again = asked.probes is None or asked.probes.ask_again

    def cut(plan: Plan, tried: Collection[tuple[str, str]] = ()) -> Plan:
        budget = {name: params.get(name) for name in ("max_runs", "max_cpu_hours")}
        return trim(plan, tried=tried, again=again, **budget)

    def shorten(plan: Plan) -> Plan:
        if again and cut(plan) == plan:
            return plan
        return cut(plan, {version for earlier in earlier_plans(store, plan) for version in _had(store, earlier, again)})

    return plan_replay(
        store,
        asked.question,
        sources=asked.sources,
        project=params.get("project") or None,
        workers=int(params.get("workers") or 4),
        timeout_s=params.get("timeout_s"),
        environment=params.get("environment") or "current",
        shorten=shorten,
    )


def _had(store: Store, earlier: Plan, again: bool) -> set[tuple[str, str]]:
    """The runs that an earlier replay had; without ``again`` those that failed: it may have been stopped before."""
    if again:
        return versions(earlier)
    replay = read_replay(store, earlier.replay)
    failed = {run.run for run in earlier.runs if replay.state(run) == "failed"}
    return {version for version in versions(earlier) if version[0] in failed}


def trim(
    plan: Plan,
    *,
    tried: Collection[tuple[str, str]] = (),
    again: bool = True,
    max_runs: int | None = None,
    max_cpu_hours: float | None = None,
) -> Plan:
    """The plan with the latest runs that fit into a budget, those in ``tried`` last; of a run all slices, or none.

    So a run that fails whenever it is asked keeps none from being asked. Nor does one wait for its turn that never
    fits; without ``again`` those in ``tried`` are left out for good.
    """

    def is_tried(run: PlannedRun) -> bool:
        return (run.run, run.sources or "") in tried

    kept: set[str] = set()
    left: dict[str, PlannedRun] = {}
    hours = 0.0
    for run in sorted((run for run in reversed(plan.runs) if run.skipped is None), key=is_tried):
        cost = sum(piece.estimate_s for piece in plan.slices_of(run.run)) / _SECONDS_PER_HOUR
        reason = _beyond(max_runs, max_cpu_hours, runs=len(kept), hours=hours, cost=cost)
        if is_tried(run) and not again:
            left[run.run] = msgspec.structs.replace(run, skipped="it was asked before, without an answer")
        elif reason is not None:
            never_fits = max_cpu_hours is not None and cost > max_cpu_hours
            left[run.run] = msgspec.structs.replace(run, skipped=reason, later=True, tried=never_fits or is_tried(run))
        else:
            kept.add(run.run)
            hours += cost
    runs = tuple(left.get(run.run, run) for run in plan.runs)
    return msgspec.structs.replace(plan, runs=runs, slices=tuple(piece for piece in plan.slices if piece.run in kept))


def _beyond(max_runs: int | None, max_cpu_hours: float | None, *, runs: int, hours: float, cost: float) -> str | None:
    """Why a run is beyond a budget of which other runs have used so much."""
    if max_cpu_hours is not None and cost > max_cpu_hours:
        return f"left out by max_cpu_hours={max_cpu_hours:g}, which it exceeds alone"
    if max_runs is not None and runs >= max_runs:
        return f"left out by max_runs={max_runs}"
    if max_cpu_hours is not None and hours + cost > max_cpu_hours:
        return f"left out by max_cpu_hours={max_cpu_hours:g}"
    return None


def why_nothing(replay: Replay) -> str:
    """Why a replay without any slice to do has none, for people."""
    counts = Counter(run.skipped for run in replay.later)
    told = "; ".join(f"{count} of them: {reason}" for reason, count in counts.items())
    return f"no run can be asked now: {told}" if told else "every run that can be asked has its answer"
