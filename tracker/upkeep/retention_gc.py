"""Collecting what is not needed any more: runs by policy, checkpoints between others, and then what nothing names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from tracker.errors import Conflict
from tracker.read.catalog import RunView, build_view, documents_of, scan
from tracker.read.notices import hearing
from tracker.read.where import Condition, choose
from tracker.replay.kinds import ALL_KINDS
from tracker.store import ids, keys
from tracker.store.base import Info, Store
from tracker.store.changes import note_changes
from tracker.store.format import require_format
from tracker.store.holds import store_time
from tracker.store.kinds import Kind
from tracker.upkeep.reachability import Graph, read_graph
from tracker.upkeep.removal import (
    Belongings,
    Remover,
    finish_removals,
    obstacle,
    obstacle_unseen,
    removed_runs,
    unfinished_removals,
)
from tracker.upkeep.retention import DAY_S, Policy
from tracker.upkeep.retention_checkpoints import best_of, spaced
from tracker.upkeep.retention_decision import Decision, Family, cannot_be_read, decide, why_spared
from tracker.upkeep.retention_metrics import of_runs
from tracker.upkeep.retention_summary import Collected, Gone
from tracker.upkeep.retention_sweep import CLOCK_S, Swept, candidates, doomed, leftovers, oldest_needed, remove_leftover
from tracker.upkeep.retention_waiting import Waiting

_PATIENCE_S = 7 * DAY_S  # with a replay that nobody takes up again


def collect(
    store: Store,
    policy: Policy | None = None,
    *,
    where: str | Condition | None = None,
    dry_run: bool = True,
    kinds: Sequence[Kind] = ALL_KINDS,
    shown: Collected | None = None,
) -> Collected:
    """Remove what a policy does not keep, and then payloads, code and plans that nothing needs.

    Safe beside runs that go on, copies into the store, and other collections; a kill at any moment loses nothing that
    is needed, and the next one goes on. ``where`` limits the policy to some runs. ``dry_run`` (the default) only tells;
    it writes nothing, and takes this machine's clock for the store's. ``shown`` is what it told: no other runs go then,
    nor checkpoints of others.
    """
    require_format(store)
    began = time.monotonic()
    work = _Collection(store, policy or Policy(), where, kinds, Collected(store.url, dry_run), shown)
    work.look() if dry_run else work.act()
    work.found.duration_s = time.monotonic() - began
    return work.found


class _Collection:
    """One collection."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        where: str | Condition | None,
        kinds: Sequence[Kind],
        found: Collected,
        shown: Collected | None,
    ) -> None:
        self.store, self.policy, self.where, self.kinds, self.found = store, policy, where, kinds, found
        self.shown = shown
        self.remover = Remover(store)

    def look(self) -> None:
        """What would go, with all that only that needs."""
        now, graph = time.time(), read_graph(self.store, self.kinds)
        decision, views = self._decide(graph, now)
        left = list(unfinished_removals(self.store))
        own = [self.remover.belongings(run) for run in decision.gone]
        for each in own:
            self._note_run(each, decision.gone[each.run])
        self.found.finished = [each.run for each in left]
        without = {info.key for each in (*own, *left) for info in (*each.infos, *each.results)}
        for view, fewer in self._thinned(graph, views, self._waiting(graph, now), now):
            self._note_thinned(view, fewer)
            without |= {info.key for info in fewer}
        gone_runs = {each.run for each in (*own, *left)}
        for replay, infos in self._old_plans(graph, now, gone_runs):
            self._note("replay", [info for info in infos if info.key not in without], 1)
            without.add(keys.replay_plan(replay))
        before = oldest_needed(self.store, graph, now=now, grace_s=self.policy.grace_s)
        old = candidates(self.store, before=before)
        graph.forget(without)
        if old:
            self.found.problems.update(graph.doubts)
        self._note_payloads(doomed(old, graph))
        self._note("leftover", list(leftovers(self.store, now=now, grace_s=self.policy.grace_s)))

    def act(self) -> None:
        """Do it: runs first, whose end frees the rest."""
        self.found.finished = finish_removals(self.store)
        now = store_time(self.store)  # before the graph: who begins while that is read is younger
        graph = read_graph(self.store, self.kinds)
        decision, views = self._decide(graph, now)
        waiting = self._waiting(graph, now)
        for family in decision.families:
            self._remove(family, decision.gone[family.root.run], waiting, now)
        for view, fewer in self._thinned(graph, views, waiting, now):
            self._delete_manifests(view, fewer)
        if self.found.runs or self.found.checkpoints:
            graph = read_graph(self.store, self.kinds, graph)
        for replay, infos in list(self._old_plans(graph, now, set())):
            self.store.delete(sorted((info.key for info in infos), key=lambda key: key == keys.replay_plan(replay)))
            graph.nodes.pop(keys.replay_plan(replay), None)
            self._note("replay", infos, 1)
        swept = Swept(self.store, self.kinds, grace_s=self.policy.grace_s)
        swept.run(graph, now=now, on_delete=self._note_payloads)
        self.found.problems.update(swept.problems)
        for info in list(leftovers(self.store, now=now, grace_s=self.policy.grace_s)):
            remove_leftover(self.store, info)
            self._note("leftover", [info])

    def _decide(self, graph: Graph, now: float) -> tuple[Decision, list[RunView]]:
        """The runs that go, and those that stay, where the policy asks for them."""
        if not (self.policy.removes_runs or self.policy.checkpoints):
            return Decision(), []
        with hearing() as heard:
            views = scan(self.store)
            eligible: Callable[[RunView], bool] = lambda view: True  # noqa: E731
            if self.where is not None:
                chosen = {view.run for view in choose(((view, view.mapping()) for view in views), self.where)}
                eligible = lambda view: view.run in chosen  # noqa: E731
        waiting = self._waiting(graph, now).runs
        decision = decide(views, self.policy, now=now, waiting=waiting, unread=of_runs(heard), eligible=eligible)
        for family in decision.families:
            if self.shown is not None and not self.shown.runs.keys() >= set(family.runs):
                decision.spare(family, "it was not among those that were shown")
        self.found.spared = decision.spared
        return decision, [view for view in views if view.run not in decision.gone and eligible(view)]

    def _waiting(self, graph: Graph, now: float) -> Waiting:
        return Waiting(self.store, graph, since=now - _PATIENCE_S)

    def _remove(self, family: Family, reason: str, waiting: Waiting, now: float) -> None:
        """Remove a run with those inside of it, unless something happened to them since they were looked at."""
        try:
            own = [self.remover.belongings(view.run) for view in family.members]
            fresh = self._look_again(family.members, own)
            waiting.look()
            again = Family(next(view for view in fresh if view.run == family.root.run), tuple(fresh))
            why = why_spared(again, self.policy, now, waiting.runs)
            if why is not None:
                raise Conflict(why)
            for each in own:
                self.remover.remove(each, reason=reason)
                self._note_run(each, reason)
        except Conflict as exc:
            left = [run for run in family.runs if run not in self.found.runs]
            self.found.spared.update(dict.fromkeys(left, str(exc)))

    def _look_again(self, views: Sequence[RunView], own: Sequence[Belongings]) -> list[RunView]:
        """The same runs as they are by what belongs to them now: hours may have passed since it was decided what goes.
        ``Conflict`` says why nothing of them may. What comes later is neither among their keys nor in their views.
        """
        found = []
        for before, each in zip(views, own, strict=True):
            documents = documents_of((info.key, info.modified) for info in each.infos).get(each.run, {})
            view = build_view(self.store, each.run, documents, time.time())
            why = obstacle_unseen(self.store, each) or "it is being removed" if view is None else obstacle(view)
            if why is not None:
                raise Conflict(why)
            if view is not None and _attempts(view) != _attempts(before):
                raise Conflict("it was started again meanwhile")
            found += [] if view is None else [view]
        return found

    def _thinned(
        self, graph: Graph, views: Sequence[RunView], waiting: Waiting, now: float
    ) -> Iterator[tuple[RunView, list[Info]]]:
        """Manifests of runs that are over, and that are not needed to restart from; run by run, because it takes long
        to find the best and replays may be planned meanwhile.
        """
        spacing = self.policy.checkpoints
        for view in views if spacing is not None else ():
            assert spacing is not None
            infos = graph.manifests.get(view.run, [])
            if len(infos) < 3 or view.pinned or not self._is_over(view, now) or not self._was_shown(view):
                continue
            if not spaced(infos, spacing, kept=waiting.checkpoints):
                continue
            with hearing() as heard:
                best = best_of(view, infos, self.policy.best)
            lost = next(iter(view.unread), of_runs(heard).get(view.run))
            if lost is not None:
                self.found.spared.setdefault(view.run, cannot_be_read(lost))
                continue
            if not self.found.dry_run:
                waiting.look()
            fewer = spaced(infos, spacing, kept=waiting.checkpoints | best)
            if fewer:
                yield view, fewer

    def _was_shown(self, view: RunView) -> bool:
        return self.shown is None or view.run in self.shown.checkpoints

    def _delete_manifests(self, view: RunView, infos: Sequence[Info]) -> None:
        """Delete checkpoints of a run, unless something happened to it since it was looked at."""
        try:
            self._look_again([view], [Belongings(view.run, tuple(self.store.list(keys.run_folder(view.run))))])
        except Conflict as exc:
            self.found.spared[view.run] = str(exc)
            return
        note_changes(self.store, [view.run])
        self.store.delete([info.key for info in infos])
        note_changes(self.store, [view.run])
        self._note_thinned(view, infos)

    def _note_thinned(self, view: RunView, infos: Sequence[Info]) -> None:
        self.found.checkpoints[view.run] = len(infos)
        self._note("checkpoint", infos)

    def _is_over(self, view: RunView, now: float) -> bool:
        if any(attempt.status == "running" for attempt in view.attempts):
            return False
        return now - (view.ended or view.started).timestamp() >= self.policy.grace_s

    def _old_plans(self, graph: Graph, now: float, gone: set[str]) -> list[tuple[str, list[Info]]]:
        """Replays of which no run is left: at once where the runs were removed, else when it is long ago."""
        found = []
        removed = gone | removed_runs(self.store)
        for key, node in graph.nodes.items():
            replay = key.split("/")[1]
            if not (key.startswith(keys.REPLAYS) and key.endswith("/plan.json") and ids.is_id(replay)):
                continue
            patience_s = self.policy.grace_s if removed.issuperset(node.runs) else max(self.policy.grace_s, DAY_S)
            age_s = now - (node.state[1] if node.state[1] is not None else now)
            if age_s >= patience_s - CLOCK_S and not any(run in graph.runs and run not in gone for run in node.runs):
                found.append((replay, list(self.store.list(keys.replay_folder(replay)))))
        return found

    def _note_run(self, own: Belongings, reason: str) -> None:
        self.found.runs[own.run] = Gone(reason, own.size_bytes)
        self.found.count("run", own.size_bytes)

    def _note_payloads(self, infos: Sequence[Info]) -> None:
        for info in infos:
            self.found.count("code" if info.key.startswith(keys.CODE) else "object", info.size_bytes)

    def _note(self, category: str, infos: Sequence[Info], number: int | None = None) -> None:
        self.found.count(category, sum(info.size_bytes for info in infos), len(infos) if number is None else number)


def _attempts(view: RunView) -> list[str]:
    return [attempt.attempt for attempt in view.attempts]
