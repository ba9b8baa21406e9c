"""Which runs go by a policy, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tracker.read.catalog import RunView
from tracker.upkeep.retention import DAY_S, Best, Policy
from tracker.upkeep.retention_metrics import Logged, read_logged


@dataclass
class Decision:
    """Which runs go by a policy, and which stay although none of its rules keeps them, each with the reason."""

    gone: dict[str, str] = field(default_factory=dict)
    spared: dict[str, str] = field(default_factory=dict)
    families: list[Family] = field(default_factory=list)  # those of the runs that go

    def remove(self, family: Family, reason: str) -> None:
        """A family goes."""
        self.gone.update(dict.fromkeys(family.runs, reason))
        self.families.append(family)

    def spare(self, family: Family, reason: str) -> None:
        """A family stays, also one of which it was said that it goes."""
        if family.root.run in self.gone:
            self.families = [other for other in self.families if other is not family]
        for run in family.runs:
            self.gone.pop(run, None)
            self.spared[run] = reason


@dataclass(frozen=True)
class Family:
    """A run with the runs inside it: they stay and go together."""

    root: RunView
    members: tuple[RunView, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(view.run for view in self.members)

    @property
    def last_sign(self) -> float:
        """When anything of it was last alive, as far as its documents say."""
        return max((view.ended or view.started).timestamp() for view in self.members)

    def unread(self, unread: Mapping[str, str]) -> str | None:
        """What could not be read of it, also of the run that it is inside of."""
        named = (name for view in self.members for name in (view.run, view.parent) if name is not None)
        return next((unread[name] for name in named if name in unread), None)

    def value(self, best: Best, logged: Logged) -> float | None:
        """The best last value of a metric in it; NaN is none."""
        values = [logged.number(view, best.metric) for view in self.members]
        numbers = [number for number in values if number is not None]
        return (max if best.mode == "max" else min)(numbers, default=None)


def decide(
    views: Collection[RunView],
    policy: Policy,
    *,
    now: float,
    waiting: Collection[str] = (),
    unread: Mapping[str, str] = MappingProxyType({}),
    eligible: Callable[[RunView], bool] = lambda view: True,
) -> Decision:
    """The runs that go. ``now`` is Unix seconds, ``waiting`` are runs that a replay is not done with, ``unread`` those
    of which a document could not be read, with its key; ``eligible`` says which runs the policy is about. Runs inside
    another one go and stay with it; counts are per project. A run that cannot be read in full stays, and takes nobody's
    place: no rule can say what it is worth. ``NameNotFound`` where runs would go and none of their project has the
    metric.
    """
    decision = Decision()
    if not policy.removes_runs:
        return decision
    projects: dict[str, list[Family]] = defaultdict(list)
    for family in _families(views):
        if eligible(family.root):
            projects[family.root.project].append(family)
    concerned = [view for families in projects.values() for family in families for view in family.members]
    logged = read_logged(concerned, [best.metric for best in policy.best])
    unread = {**logged.unread, **unread}
    unseen = unread.keys() - {view.run for view in views}
    decision.spared.update({run: cannot_be_read(unread[run]) for run in sorted(unseen)})
    for project, families in sorted(projects.items()):
        whole = [family for family in families if family.unread(unread) is None]
        kept = {family.root.run for family in _kept(whole, policy, now, logged)}
        others = [family for family in families if family.root.run not in kept]
        spared = {family.root.run: why_spared(family, policy, now, waiting, unread) for family in others}
        for family in others:
            why = spared[family.root.run]
            if why is None:
                decision.remove(family, _reason(policy, project))
            else:
                decision.spare(family, why)
        if None in spared.values():
            _check_metrics(project, families, policy, logged)
    return decision


def _check_metrics(project: str, families: Sequence[Family], policy: Policy, logged: Logged) -> None:
    """A metric that no run has is a slip, by which the best run would go."""
    for best in policy.best:
        if all(family.value(best, logged) is None for family in families):
            raise logged.not_found(project, best.metric)


def _families(views: Collection[RunView]) -> list[Family]:
    """Oldest first."""
    known = {view.run: view for view in views}
    members: dict[str, list[RunView]] = defaultdict(list)
    for view in views:
        members[_root(view, known)].append(view)
    return [Family(known[root], tuple(members[root])) for root in sorted(members)]


def _root(view: RunView, known: Mapping[str, RunView]) -> str:
    """The outermost run around one; where runs claim to be inside each other, the same one for all of them."""
    seen = {view.run}
    while view.parent is not None and view.parent in known and view.parent not in seen:
        view = known[view.parent]
        seen.add(view.run)
    return view.run if view.parent not in seen else min(seen)


def _kept(families: Sequence[Family], policy: Policy, now: float, logged: Logged) -> Iterable[Family]:
    """Those that a rule keeps."""
    if policy.last:
        yield from sorted(families, key=lambda family: (family.root.started, family.root.run))[-policy.last :]
    for best in policy.best:
        valued = [(value, family) for family in families if (value := family.value(best, logged)) is not None]
        sign = -1 if best.mode == "max" else 1
        yield from (
            family for _, family in sorted(valued, key=lambda pair: (sign * pair[0], pair[1].root.run))[: best.count]
        )
    if policy.younger_s is not None:
        yield from (family for family in families if now - family.last_sign < policy.younger_s)


def why_spared(
    family: Family,
    policy: Policy,
    now: float,
    waiting: Collection[str],
    unread: Mapping[str, str] = MappingProxyType({}),
) -> str | None:
    """Why a family stays although no rule keeps it."""
    lost = family.unread(unread)
    if lost is not None:
        return cannot_be_read(lost)
    if any(attempt.status == "running" for view in family.members for attempt in view.attempts):
        return "it is still running"
    if any(view.pinned for view in family.members):
        return "it is pinned"
    tags = sorted({tag for view in family.members for tag in view.tags} & set(policy.tags))
    if tags:
        return f"it is tagged {tags[0]}"
    if any(view.run in waiting for view in family.members):
        return "a replay of it is not finished"
    if now - family.last_sign < policy.grace_s:
        return f"it was alive within the last {policy.grace_s / 3600:g} h"
    return None


def cannot_be_read(key: str) -> str:
    return f"{key} cannot be read"


def _reason(policy: Policy, project: str) -> str:
    rules = [] if policy.last is None else [f"the last {policy.last} of {project}"]
    rules += [str(best) for best in policy.best]
    text = f"not among {' or '.join(rules)}" if rules else ""
    if policy.younger_s is None:
        return text
    return (
        f"{text}, and older than {policy.younger_s / DAY_S:g} d"
        if text
        else f"older than {policy.younger_s / DAY_S:g} d"
    )
