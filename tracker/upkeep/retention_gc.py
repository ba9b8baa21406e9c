"""Collecting what is not needed any more: runs by policy, checkpoints between others, and then what nothing names."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tracker.errors import Conflict
from tracker.read.catalog import RunView, scan
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
    removed_runs,
    unfinished_removals,
)
from tracker.upkeep.retention import DAY_S, Decision, Policy, decide
from tracker.upkeep.retention_checkpoints import best_of, spaced
from tracker.upkeep.retention_summary import Collected, Gone
from tracker.upkeep.retention_sweep import CLOCK_S, Swept, candidates, doomed, leftovers, oldest_needed, remove_leftover

_PATIENCE_S = 7 * DAY_S  # with a replay that nobody takes up again


def collect(
    store: Store,
    policy: Policy | None = None,
    *,
    where: str | Condition | None = None,
    dry_run: bool = True,
    kinds: Sequence[Kind] = ALL_KINDS,
) -> Collected:
    """Remove what a policy does not keep, and then payloads, code and plans that nothing needs.

    Safe beside runs that go on, copies into the store, and other collections; a kill at any moment loses nothing that
    is needed, and the next one goes on. ``where`` limits the policy to some runs. ``dry_run`` (the default) only tells;
    it writes nothing, and takes this machine's clock for the store's.
    """
    require_format(store)
    began = time.monotonic()
    work = _Collection(store, policy or Policy(), where, kinds, Collected(store.url, dry_run))
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
    ) -> None:
        self.store, self.policy, self.where, self.kinds, self.found = store, policy, where, kinds, found
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
        thinned = self._thin(graph, views, decision, now)
        without |= {info.key for info in thinned}
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
        for run, reason in decision.gone.items():
            self._remove(run, reason)
        views = [view for view in views if view.run not in self.found.runs]
        thinned = self._thin(graph, views, decision, now)
        if thinned:
            runs = {info.key.split("/")[1] for info in thinned}
            note_changes(self.store, runs)
            self.store.delete([info.key for info in thinned])
            note_changes(self.store, runs)
        if self.found.runs or thinned:
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
        """The runs that go, and all that there are, where the policy asks for them."""
        if not (self.policy.removes_runs or self.policy.checkpoints):
            return Decision(), []
        views = scan(self.store)
        eligible: Callable[[RunView], bool] = lambda view: True  # noqa: E731
        if self.where is not None:
            chosen = {view.run for view in choose(((view, view.mapping()) for view in views), self.where)}
            eligible = lambda view: view.run in chosen  # noqa: E731
        waiting = {run for run, _ in graph.unfinished(since=now - _PATIENCE_S)}
        decision = decide(views, self.policy, now=now, waiting=waiting, eligible=eligible)
        self.found.spared = decision.spared
        remaining = [view for view in views if view.run not in decision.gone and eligible(view)]
        return decision, remaining

    def _remove(self, run: str, reason: str) -> None:
        """Remove a run, unless something happened to it since it was looked at."""
        own = self.remover.belongings(run)
        views = scan(self.store, [run])
        why = obstacle(views[0]) if views else None
        if why is None:
            try:
                self.remover.remove(own, reason=reason)
                self._note_run(own, reason)
                return
            except Conflict as exc:
                why = str(exc)
        self.found.spared[run] = why

    def _thin(self, graph: Graph, views: Sequence[RunView], decision: Decision, now: float) -> list[Info]:
        """Manifests of runs that are over, and that are not needed to restart from."""
        spacing = self.policy.checkpoints
        if spacing is None:
            return []
        waiting = graph.unfinished(since=now - _PATIENCE_S)
        begun = {checkpoint for _, checkpoint in waiting if checkpoint is not None}
        gone: list[Info] = []
        for view in views:
            infos = graph.manifests.get(view.run, [])
            if len(infos) < 3 or view.pinned or not self._is_over(view, now):
                continue
            if not spaced(infos, spacing, kept=begun):
                continue
            kept = begun | best_of(view, infos, self.policy.best)
            fewer = spaced(infos, spacing, kept=kept)
            if fewer:
                self.found.checkpoints[view.run] = len(fewer)
                self._note("checkpoint", fewer)
                gone += fewer
        return gone

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
