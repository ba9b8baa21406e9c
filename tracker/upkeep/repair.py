"""Repairing a store from another one: what is missing or damaged is fetched, checked, and only then written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tracker.errors import BadKey, Corrupt, KeyExists, KeyNotFound
from tracker.replay.kinds import ALL_KINDS
from tracker.store import keys
from tracker.store.base import Info, Store, has
from tracker.store.changes import note_changes
from tracker.store.format import require_format
from tracker.store.inspection import Finding, inspect
from tracker.store.kinds import Kind
from tracker.store.verify import CheckCode, Report, verify
from tracker.syncing.catalogue import Item, read_document, sort_key
from tracker.syncing.copying import checked
from tracker.upkeep.lost_keys import lost_keys

_REPAIRABLE = {"missing", "damaged"}
NOT_THERE = "the other store does not have it"


@dataclass
class Repaired:
    """What was fetched from the other store, what could not be, with the reason, and how the store stands now."""

    source: str
    repaired: list[str] = field(default_factory=list)
    unrepaired: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    report: Report | None = None


def repair(
    store: Store,
    source: Store,
    run: str | None = None,
    *,
    check_code: CheckCode | None = None,
    kinds: Sequence[Kind] = ALL_KINDS,
    on_key: Callable[[Info], None] | None = None,
) -> Repaired:
    """Verify a store, fetch what is missing or damaged from ``source``, and verify it again.

    What was lost without a trace, such as the end of an attempt or lines of output, is fetched, too, where ``source``
    has it and the attempt is over.
    Nothing is written that was not proven: an object by its hash, a segment by reading all of it, a bundle by git's own
    check-sum, a document by decoding it and by what it says of its place. A damaged original is replaced only then,
    atomically. Killed at any moment, the next call goes on. Whatever cannot be repaired is named in ``unrepaired``.
    """
    require_format(source)
    found = Repaired(source.url)
    before = verify(store, run, check_code=check_code, kinds=kinds, on_key=on_key)
    wanted = [each.key for each in before.problems if each.kind in _REPAIRABLE and not each.key.endswith("/")]
    wanted += lost_keys(store, source, run)
    if wanted:
        _fetch(wanted, store, source, kinds, check_code, found)
    found.report = verify(store, run, check_code=check_code, kinds=kinds, on_key=on_key) if wanted else before
    for problem in found.report.problems:
        if problem.kind in _REPAIRABLE:
            found.unrepaired.setdefault(problem.key, problem.detail)
    return found


def _fetch(
    wanted: Sequence[str],
    store: Store,
    source: Store,
    kinds: Sequence[Kind],
    check_code: CheckCode | None,
    found: Repaired,
) -> None:
    runs = {key.split("/")[1] for key in wanted if key.startswith(keys.RUNS)}
    note_changes(store, runs)
    try:
        _Repair(store, source, kinds, check_code, found).fetch(wanted)
    finally:
        note_changes(store, runs)


class _Repair:
    """Fetches keys, and what the documents among them need."""

    def __init__(
        self, store: Store, source: Store, kinds: Sequence[Kind], check_code: CheckCode | None, found: Repaired
    ) -> None:
        self.store, self.source, self.kinds, self.found = store, source, kinds, found
        self.check_code = check_code

    def fetch(self, wanted: Iterable[str]) -> None:
        """Repair these keys, payloads before the documents that name them."""
        waiting, seen = deque(sorted(wanted, key=lambda key: key.endswith(".json"))), set[str]()
        while waiting:
            key = waiting.popleft()
            if key in seen:
                continue
            seen.add(key)
            try:
                needs = self._repair(key)
            except KeyNotFound:
                self.found.unrepaired[key] = NOT_THERE
            except (Corrupt, BadKey) as exc:
                self.found.unrepaired[key] = f"the other store's is damaged, too: {exc}"
            else:
                waiting += [need for need in needs if need not in seen and not has(self.store, need)]

    def _repair(self, key: str) -> list[str]:
        """Repair one key; gives what it needs."""
        own = self._finding(self.store, key)
        if own is not None and not own.problems and not self._is_broken_bundle(own):
            self.found.unrepaired[key] = "it is sound by itself; what is wrong is how it stands beside others"
            return []
        item = sort_key(self.source.info(keys.check(key)), self.kinds)
        if item is None or item.category == "journal":
            kind = "journals belong to their writer: `hindsight recover` seals what can be read"
            self.found.unrepaired[key] = kind if item is not None else "no key of this name belongs to a store"
            return []
        theirs = inspect(self.source, item.info, self.kinds)
        if theirs.problems:
            raise Corrupt(theirs.problems[0].detail)
        self._copy(item, replace=own is not None)
        self.found.unrepaired.pop(key, None)
        return [need.key for need in theirs.needs]

    def _copy(self, item: Item, *, replace: bool) -> None:
        """Write what was read and checked in one go, so that it is these bytes which were checked."""
        if item.kind is not None:
            data = self.source.get(item.key)
            read_document(data, item)
            self._put(item.key, data, replace=replace)
            return
        if item.category == "bundle" and self.check_code is not None:
            name = item.key.removeprefix(keys.CODE).removesuffix(".bundle")
            if has(self.source, keys.code_document(name)) and (wrong := self.check_code(self.source, name)):
                raise Corrupt(wrong[0])
        with checked(self.source, item) as view:
            self._put(item.key, view, replace=replace)

    def _put(self, key: str, data: bytes | memoryview, *, replace: bool) -> None:
        if replace:
            self.store.put(key, data)
        else:
            try:
                self.store.create(key, data)
            except KeyExists:
                return  # somebody else has written it meanwhile
        self.found.repaired.append(key)
        self.found.size_bytes += len(data)

    def _finding(self, store: Store, key: str) -> Finding | None:
        try:
            return inspect(store, store.info(key), self.kinds)
        except KeyNotFound:
            return None

    def _is_broken_bundle(self, own: Finding) -> bool:
        """Whether a bundle that begins as one does is damaged further on."""
        if own.category != "bundle" or self.check_code is None:
            return False
        return bool(self.check_code(self.store, own.info.key.removeprefix(keys.CODE).removesuffix(".bundle")))
