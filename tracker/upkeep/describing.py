"""What the index keeps of one run, read from the run itself."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from blake3 import blake3

from tracker.errors import Corrupt, KeyNotFound
from tracker.read.batches import OPEN, SETTLED
from tracker.read.catalog import Documents, RunView, build_view, documents_of
from tracker.store import ids, keys
from tracker.store.base import Info, Store
from tracker.store.columns import to_json
from tracker.store.documents import Lease, decode
from tracker.store.keys import SegmentKey
from tracker.store.leases import derive_status
from tracker.store.segments import Piece, uncovered

ODD = (Corrupt, msgspec.MsgspecError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""What odd contents of one run may raise; they must not stop the others."""


@dataclass
class Description:
    """A run as it was found: its state, what tells it from other states, its row, and the segments that count."""

    run: str
    state: str
    fingerprint: str = ""
    row: dict[str, Any] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    covered: dict[str, SegmentKey] = field(default_factory=dict)  # segments that nobody reads, by what covers them
    goes_on: bool = False  # else an open run has no end, or a journal waits
    problem: str = ""  # why it cannot be read


def describe_run(store: Store, run: str) -> Description | None:
    """What there is to say of a run; ``None`` where there is none.

    Only a run whose attempts have all ended, without an open journal and with documents that can be read, is told by
    the index (``SETTLED``); any other is ``OPEN``, which means that readers read it themselves. What documents say may
    be absurd in ways that raise other errors than ``Corrupt``: those of ``ODD``.
    """
    infos = list(store.list(keys.run_folder(run)))
    names = documents_of((info.key, info.modified) for info in infos).get(run, {})
    if not any(info.key == keys.run_document(run) for info in infos):
        return None
    wanted = _told_whole(run, infos, names)
    if wanted is None:
        return Description(run, OPEN, goes_on=_goes_on(store, run, names))
    held = _read(store, wanted)
    if held is None:
        return Description(run, OPEN, goes_on=True)
    problems: list[str] = []
    view = _view(store, run, names, held, problems)
    if view is None or problems or view.run != run:
        return Description(run, OPEN, problem="; ".join(problems) or f"{keys.run_document(run)} is of another run")
    sources: dict[SegmentKey, list[str]] = {}
    for info in infos:
        key = SegmentKey.parse(info.key)
        if key is not None:
            sources.setdefault(SegmentKey(run, key.path, key.shard, key.first, key.last), []).append(info.key)
    pieces = [Piece(key, store, tuple(sorted(parts))) for key, parts in uncovered(sources).items()]
    covered = _covered(sources, pieces)
    fingerprint = _fingerprint([info for info in infos if info.key not in covered], held)
    return Description(run, SETTLED, fingerprint, _row(view, held), sorted(pieces, key=_order), covered)


def _covered(sources: dict[SegmentKey, list[str]], pieces: Sequence[Piece]) -> dict[str, SegmentKey]:
    """The segments of which nothing is read, by the piece that covers them."""
    kept = {key for piece in pieces for key in piece.sources}
    found: dict[str, SegmentKey] = {}
    for whole, parts in sources.items():
        unread = [key for key in parts if key not in kept]
        if unread:
            found |= dict.fromkeys(unread, next(piece.key for piece in pieces if piece.key.covers(whole)))
    return found


def _order(piece: Piece) -> SegmentKey:
    return piece.key


def _told_whole(run: str, infos: Sequence[Info], names: Documents) -> list[str] | None:
    """The keys of all documents that a view needs; ``None`` while an attempt goes on or a journal waits."""
    there = {info.key for info in infos}
    attempts = [name for name in names if ids.is_id(name)]
    ends = [keys.attempt_document(run, attempt, "end") for attempt in attempts]
    if not attempts or not there.issuperset(ends) or any(key.startswith(keys.journal_folder(run)) for key in there):
        return None
    failed = [keys.attempt_document(run, each, "failure") for each in attempts if "failure.json" in names[each]]
    return [keys.run_document(run), *sorted(ends), *sorted(failed), *sorted(names.get("marks", ()))]


def _read(store: Store, wanted: Sequence[str]) -> dict[str, bytes] | None:
    try:
        return {key: store.get(key) for key in wanted}
    except KeyNotFound:
        return None


def _goes_on(store: Store, run: str, names: Documents) -> bool:
    """Whether an attempt shows signs of life."""
    for attempt, documents in names.items():
        if "end.json" not in documents and "lease.json" in documents:
            key = keys.attempt_document(run, attempt, "lease")
            try:
                lease = decode(store.get(key), Lease, key=key)
            except KeyNotFound:
                return True  # it ends at this moment
            if derive_status(None, lease, now=time.time(), written=documents["lease.json"]) == "running":
                return True
    return False


def _view(store: Store, run: str, names: Documents, held: dict[str, bytes], problems: list[str]) -> RunView | None:
    """The view as readers will build it, and what they will be warned of."""

    def get(key: str) -> bytes:
        if key not in held:
            raise KeyNotFound(f"{key} tells nothing of a run that has ended")
        return held[key]

    return build_view(store, run, names, time.time(), get=get, on_damage=lambda key, why: problems.append(str(why)))


def _fingerprint(infos: Sequence[Info], held: dict[str, bytes]) -> str:
    hasher = blake3()
    for info in infos:
        hasher.update(f"{info.key}\0{info.size_bytes}\0{info.modified}\n".encode())
    for key, data in sorted(held.items()):
        hasher.update(f"{key}\0{len(data)}\n".encode())
        hasher.update(data)
    return hasher.hexdigest()[:32]


def _row(view: RunView, held: dict[str, bytes]) -> dict[str, Any]:
    """The row without what its batch adds."""
    folder = keys.run_folder(view.run)
    documents = {
        key.removeprefix(folder): msgspec.Raw(msgspec.json.format(data, indent=-1)) for key, data in held.items()
    }
    return {
        **{name: getattr(view, name) for name in ("run", "project", "name", "script", "parent", "started", "ended")},
        **{name: getattr(view, name) for name in ("duration", "status", "pinned")},
        "tags": list(view.tags),
        "attempts": len(view.attempts),
        "arguments": to_json(view.arguments),
        "summary": to_json(view.summary),
        "documents": msgspec.json.encode(documents).decode(),
    }


def about_json(described: dict[str, Any], key: SegmentKey) -> str | None:
    """What the metadata of a segment says beside its name; ``None`` when it contradicts its name."""
    own = {"run": key.run, "attempt": key.attempt, "shard": key.shard, "first": key.first, "last": key.last}
    if any(described.get(name) != value for name, value in own.items()):
        return None
    return json.dumps({name: value for name, value in described.items() if name not in own}, sort_keys=True)
