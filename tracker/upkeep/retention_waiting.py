"""Which runs replays are not done with, also those that are planned while a collection goes on."""

from __future__ import annotations

from tracker.errors import Corrupt, KeyNotFound
from tracker.replay.documents import Plan
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import decode
from tracker.upkeep.reachability import Graph


class Waiting:
    """The runs that unfinished replays are about, and the checkpoints at which these begin."""

    def __init__(self, store: Store, graph: Graph, *, since: float) -> None:
        """As the documents of a store said it; replays that were planned before ``since`` count no more."""
        self.store = store
        self.runs: set[str] = set()
        self.checkpoints: set[str] = set()
        for run, checkpoint in graph.unfinished(since=since):
            self._add(run, checkpoint)
        self._known = {key.split("/")[1] for key in (*graph.nodes, *graph.unreadable) if key.startswith(keys.REPLAYS)}

    def look(self) -> None:
        """Add the replays that were planned since it was looked last: one listing, and a get for each of them."""
        for replay in self.store.folders(keys.REPLAYS):
            if ids.is_id(replay) and replay not in self._known:
                self._read(replay)

    def _read(self, replay: str) -> None:
        key = keys.replay_plan(replay)
        try:
            plan = decode(self.store.get(key), Plan, key=key)
        except (KeyNotFound, Corrupt):
            return
        self._known.add(replay)
        for piece in plan.slices:
            self._add(piece.run, piece.checkpoint)

    def _add(self, run: str, checkpoint: str | None) -> None:
        self.runs.add(run)
        if checkpoint is not None:
            self.checkpoints.add(checkpoint)
