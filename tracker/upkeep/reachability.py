"""What the documents of a store need: everything else may go."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tracker.checkpoint.manifest import Manifest
from tracker.code.bundle import read_header
from tracker.errors import Corrupt, KeyNotFound
from tracker.read.parallel import each
from tracker.replay.documents import Plan
from tracker.store import keys
from tracker.store.base import Info, Store
from tracker.store.documents import CodeDocument, Snapshot, decode
from tracker.store.inspection import categorise
from tracker.store.keys import JournalKey, SegmentKey
from tracker.store.kinds import Kind

_NO_DOCUMENTS = {"objects", "index", "holds", "sweeps", "removed", ".probe"}
_HEADER_BYTES = 1 << 16
_BATCH = 1024


@dataclass(frozen=True)
class Node:
    """One document, as far as others depend on it."""

    state: tuple[int, float | None]  # size and time: read again when they changed
    needs: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()  # of a plan: the runs that it is about
    waits_for: tuple[tuple[str, int, str, str | None], ...] = ()  # of a plan: run, slice, its result and its checkpoint
    has_modules: bool = False  # its snapshot leads to others that no document names


@dataclass
class Graph:
    """The documents of a store with what they need, and what was seen beside them."""

    nodes: dict[str, Node] = field(default_factory=dict)
    runs: dict[str, float | None] = field(default_factory=dict)  # by their own document: its time
    open_attempts: dict[tuple[str, str], float | None] = field(
        default_factory=dict
    )  # without an end: time of its lease
    results: set[str] = field(default_factory=set)
    manifests: dict[str, list[Info]] = field(default_factory=dict)  # by run
    unreadable: dict[str, str] = field(default_factory=dict)  # documents that may need anything
    strangers: list[str] = field(default_factory=list)  # keys that a newer version may have written
    missing: set[str] = field(default_factory=set)  # snapshots that are named and not there

    def needed(self, *, without: Collection[str] = (), further: Iterable[str] = ()) -> set[str]:
        """Every key that documents need, directly or through the code that they name. ``without`` leaves documents out,
        ``further`` are keys that are needed besides.
        """
        roots = [node for key, node in self.nodes.items() if not key.startswith(keys.CODE) and key not in without]
        found = {*further, *(need for node in roots for need in node.needs)}
        if any(node.has_modules for node in roots):
            found.update(key for key in self.nodes if key.startswith(keys.CODE))
        waiting = [key for key in found if key in self.nodes and key.startswith(keys.CODE)]
        while waiting:
            fresh = [need for need in self.nodes[waiting.pop()].needs if need not in found]
            found.update(fresh)
            waiting += [need for need in fresh if need in self.nodes]
        return found

    def unfinished(self, *, since: float) -> Iterator[tuple[str, str | None]]:
        """Runs that a replay planned since then is not done with, each with the checkpoint that it begins at."""
        for node in self.nodes.values():
            if node.state[1] is not None and node.state[1] < since:
                continue
            for run, _, result, checkpoint in node.waits_for:
                if result not in self.results:
                    yield run, checkpoint

    def forget(self, gone: Collection[str]) -> None:
        """Leave out documents that are about to go."""
        self.nodes = {key: node for key, node in self.nodes.items() if key not in gone}
        self.unreadable = {key: why for key, why in self.unreadable.items() if key not in gone}
        self.strangers = [key for key in self.strangers if key not in gone]

    def knows(self, key: str) -> bool:
        """Whether a document was looked for."""
        return key in self.nodes or key in self.unreadable or key in self.missing

    @property
    def doubts(self) -> dict[str, str]:
        """Why what seems unneeded may be needed all the same."""
        unknown = dict.fromkeys(self.strangers, "no key of this name is known; a newer version may have written it")
        lost = self.missing and self.missing & self.needed()
        return self.unreadable | unknown | dict.fromkeys(lost, "it is missing, and nothing else says what it needs")


def read_graph(
    store: Store, kinds: Sequence[Kind], before: Graph | None = None, *, renew: Callable[[], object] = lambda: None
) -> Graph:
    """Read all documents that may need something; of those that ``before`` has, only the ones that changed since.

    One listing of all but the objects, and a get for each document. Documents that vanish meanwhile are left out.
    ``renew`` is called all the time.
    """
    graph, known = Graph(), {} if before is None else before.nodes
    wanted = _sort_out(store, kinds, graph, renew)
    while batch := list(islice(wanted, _BATCH)):
        read = each(store, lambda pair: _node(store, *pair, known, graph), batch)
        renew()
        graph.nodes.update((pair[0].key, node) for pair, node in zip(batch, read, strict=True) if node is not None)
    _look_for_missing(store, kinds, graph)
    return graph


def _look_for_missing(store: Store, kinds: Sequence[Kind], graph: Graph) -> None:
    """Read the snapshots that documents name and that were not listed: those written since, and their own."""
    while unknown := [key for key in graph.needed() if _is_snapshot(key) and not graph.knows(key)]:
        for key in unknown:
            try:
                info = store.info(key)
            except KeyNotFound:
                graph.missing.add(key)
                continue
            _, kind = categorise(key, kinds)
            node = None if kind is None else _node(store, info, kind, {}, graph)
            if node is not None:
                graph.nodes[key] = node
            elif key not in graph.unreadable:
                graph.missing.add(key)


def _is_snapshot(key: str) -> bool:
    return key.startswith(keys.CODE) and key.endswith(".json")


def _sort_out(
    store: Store, kinds: Sequence[Kind], graph: Graph, renew: Callable[[], object]
) -> Iterator[tuple[Info, Kind]]:
    """Every document with needs; what else is seen is noted in the graph."""
    ended: set[tuple[str, str]] = set()
    for folder in store.folders():
        if folder in _NO_DOCUMENTS:
            continue
        for info in store.list(f"{folder}/"):
            renew()
            _note(info, graph, ended)
            if info.key.endswith((".parquet", ".journal")) and (
                SegmentKey.parse(info.key) or JournalKey.parse(info.key)
            ):
                continue
            category, kind = categorise(info.key, kinds)
            if kind is not None and kind.form is Manifest:
                graph.manifests.setdefault(info.key.split("/")[1], []).append(info)
            if kind is not None and kind.has_needs:
                yield info, kind
            elif category == "other":
                graph.strangers.append(info.key)
    for attempt in ended:
        graph.open_attempts.pop(attempt, None)


def _note(info: Info, graph: Graph, ended: set[tuple[str, str]]) -> None:
    parts = info.key.split("/")
    if parts[0] == "replays" and len(parts) == 4:
        graph.results.add(info.key)
    elif parts[0] == "runs" and parts[2:] == ["run.json"]:
        graph.runs[parts[1]] = info.modified
    elif parts[0] == "runs" and len(parts) == 5 and parts[2] == "attempts":
        attempt = (parts[1], parts[3])
        graph.open_attempts.setdefault(attempt, None)
        if parts[4] == "lease.json":
            graph.open_attempts[attempt] = info.modified
        elif parts[4] == "end.json":
            ended.add(attempt)


def _node(store: Store, info: Info, kind: Kind, known: dict[str, Node], graph: Graph) -> Node | None:
    state = (info.size_bytes, info.modified)
    before = known.get(info.key)
    if before is not None and before.state == state and info.modified is not None:
        return before
    try:
        found = decode(store.get(info.key), kind.form, key=info.key)
        needs = [need.key for need in kind.needs(found)]
        if isinstance(found, Snapshot) and found.kind == "git":
            needs += map(keys.code_document, _builds_on(store, found.snapshot))
        node = Node(state, tuple(map(sys.intern, needs)))
    except KeyNotFound:
        return None
    except (Corrupt, ValueError, TypeError, AttributeError) as exc:
        graph.unreadable[info.key] = str(exc)
        return None
    if isinstance(found, Plan):
        waits = ((piece.run, piece.number, keys.replay_result(found.replay, piece.number), piece.checkpoint)
                 for piece in found.slices)  # fmt: skip
        return Node(state, node.needs, tuple(planned.run for planned in found.runs), tuple(waits))
    if isinstance(found, CodeDocument) and found.modules:
        return Node(state, node.needs, has_modules=True)
    return node


def _builds_on(store: Store, snapshot: str) -> tuple[str, ...]:
    """The snapshots without which a bundle cannot be unpacked."""
    try:
        head = store.get_range(keys.code_bundle(snapshot), 0, _HEADER_BYTES)
    except KeyNotFound:
        return ()
    return read_header(head, name=snapshot).needs
