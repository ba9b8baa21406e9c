"""Deleting payloads that nothing needs, beside writers that may be about to need them (docs/design/0018)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress

from tracker.errors import Conflict, Corrupt, KeyNotFound
from tracker.store import durable, ids, keys
from tracker.store.base import Info, Store
from tracker.store.documents import Lease, decode
from tracker.store.holds import SWEEP_LIFE_S, Sweeping, expired_holds, held_keys
from tracker.store.inspection import categorise
from tracker.store.kinds import Kind
from tracker.store.processes import is_alive, is_visible
from tracker.upkeep.reachability import Graph, read_graph

BATCH = 500
MOST = 10_000  # keys of a sweep, which names them all
CLOCK_S = 2.0  # stores tell times by the second
_SILENT_S = 900.0  # a machine that was asleep may come back
SKEW_S = 60.0
_TRIES = 5
_FIRST_PAUSE_S = 0.1


def oldest_needed(store: Store, graph: Graph, *, now: float, grace_s: float) -> float:
    """Payloads that were written since then, by the store's clock, are kept, whoever needs them: those of the grace
    period, and those that a run which goes on may have stored and not named yet.
    """
    since = now - grace_s
    for (run, attempt), renewed in graph.open_attempts.items():
        began = _began(store, run, attempt, renewed, now=now, silent_s=max(grace_s, _SILENT_S))
        if began is not None:
            first = graph.runs.get(run)  # it was there before anything else of the run, but merging writes it again
            since = min(since, began, began if first is None else first)
    return since - CLOCK_S


def _began(store: Store, run: str, attempt: str, renewed: float | None, *, now: float, silent_s: float) -> float | None:
    """When an attempt began by the store's clock; ``None`` when it is over, or nothing was heard of it for long."""
    if not ids.is_id(attempt) or renewed is None:
        return None
    key = keys.attempt_document(run, attempt, "lease")
    try:
        lease = decode(store.get(key), Lease, key=key)
    except (KeyNotFound, Corrupt):
        return None
    is_heard = now - renewed <= max(silent_s, 4 * lease.interval_s)
    lives = is_alive(lease.writer) if is_visible(lease.writer) else is_heard
    skew_s = renewed - lease.renewed  # how far the store's clock is ahead of the writer's
    return ids.created_ms(attempt) / 1000 + skew_s - SKEW_S if lives else None


def candidates(store: Store, *, before: float, renew: Callable[[], object] = lambda: None) -> list[Info]:
    """Payloads and snapshots that are old enough to go; those whose age the store does not tell are not. ``renew`` is
    called all the time.
    """
    found = []
    for folder in (keys.CODE, keys.OBJECTS):
        for info in store.list(folder):
            renew()
            if info.modified is not None and info.modified < before and _is_ours(info.key):
                found.append(info)
    return found


def _is_ours(key: str) -> bool:
    return categorise(key)[0] in {"object", "bundle", "document"}


def doomed(found: Sequence[Info], graph: Graph, *, held: Collection[str] = ()) -> list[Info]:
    """Those candidates that nothing needs, documents first; younger snapshots stay with all that they build on.

    None at all where it is not known what some document needs.
    """
    if graph.doubts:
        return []
    old = {info.key for info in found}
    young = [key for key in graph.nodes if key.startswith(keys.CODE) and key not in old]
    needed = graph.needed(further=[*held, *young])
    gone = [info for info in found if info.key not in needed]
    return sorted(gone, key=lambda info: (not info.key.startswith(keys.CODE), not info.key.endswith(".json"), info.key))


class Swept:
    """One sweep: ``run`` deletes, and calls ``on_delete`` for every batch that is gone."""

    def __init__(self, store: Store, kinds: Sequence[Kind], *, grace_s: float) -> None:
        self.store, self.kinds, self.grace_s = store, kinds, grace_s
        self.problems: dict[str, str] = {}

    def run(self, graph: Graph, *, now: float, on_delete: Callable[[Sequence[Info]], None]) -> None:
        """Delete what ``graph`` does not need, after looking again at what changed since it was read."""
        before = oldest_needed(self.store, graph, now=now, grace_s=self.grace_s)
        found = candidates(self.store, before=before)
        self._tell(graph, found)
        gone = doomed(found, graph)
        try:
            for start in range(0, len(gone), MOST):  # snapshots first, so that what they need is free in a later one
                self._sweep(graph, gone[start : start + MOST], before, on_delete)
        except Conflict as exc:
            self.problems["objects"] = str(exc)

    def _sweep(
        self, graph: Graph, found: Sequence[Info], before: float, on_delete: Callable[[Sequence[Info]], None]
    ) -> None:
        """Delete those of these keys that still may go; whoever finds others need not wait."""
        pause = _FIRST_PAUSE_S
        for _ in range(_TRIES):
            sweeping = Sweeping(self.store, [info.key for info in found])
            try:
                held = held_keys(self.store, sweeping.begin())
                if held is not None:
                    self._delete(sweeping, graph, found, held, before, on_delete)
                    return
            finally:
                sweeping.end()
            time.sleep(pause)
            pause *= 2
        raise Conflict("something is being copied into the store, which may need any of them")

    def _delete(
        self,
        sweeping: Sweeping,
        graph: Graph,
        found: Sequence[Info],
        held: Collection[str],
        before: float,
        on_delete: Callable[[Sequence[Info]], None],
    ) -> None:
        """Holds were read, so whoever named something without holding it any more has published its document: documents
        are read after them. What was stored anew since the first look is somebody's.
        """
        now = read_graph(self.store, self.kinds, graph, renew=sweeping.renew)
        same = set(candidates(self.store, before=before, renew=sweeping.renew))
        gone = doomed([info for info in found if info in same], now, held=held)
        self._tell(now, found)
        for start in range(0, len(gone), BATCH):
            batch = gone[start : start + BATCH]
            sweeping.delete([info.key for info in batch])
            on_delete(batch)

    def _tell(self, graph: Graph, found: Sequence[Info]) -> None:
        if found:
            self.problems.update(graph.doubts)


def leftovers(store: Store, *, now: float, grace_s: float) -> Iterator[Info]:
    """Small keys of writers that were killed: old holds and sweeps, and probes; in a folder unfinished files, too."""
    yield from expired_holds(store, now)
    for prefix, life_s in ((keys.SWEEPS, 2 * SWEEP_LIFE_S), (".probe/", max(grace_s, 3600))):
        for info in store.list(prefix):
            if info.modified is not None and now - info.modified > life_s:
                yield info
    root = store.local_path(keys.FORMAT)
    for path in durable.leftovers(root.parent) if root is not None else ():
        with suppress(FileNotFoundError):
            status = path.lstat()
            if now - status.st_mtime > max(grace_s, 3600):
                yield Info(path.relative_to(root.parent).as_posix(), status.st_size, status.st_mtime)  # type: ignore[union-attr]


def remove_leftover(store: Store, info: Info) -> None:
    """Delete one of them; unfinished files are no keys."""
    root = store.local_path(keys.FORMAT)
    if root is None or not info.key.rsplit("/", 1)[-1].startswith(durable.TEMPORARY):
        store.delete([info.key])
        return
    with suppress(OSError):
        (root.parent / info.key).unlink()
