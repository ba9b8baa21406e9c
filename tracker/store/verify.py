"""Whether a store holds what it should: every byte read, every hash compared, every reference followed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

from tracker.errors import BadKey, KeyNotFound
from tracker.store import durable, ids, keys
from tracker.store.base import Info, Store
from tracker.store.completeness import lost_values, unfinished_attempts, unneeded_payloads
from tracker.store.format import require_format
from tracker.store.inspection import Finding, Problem, inspect
from tracker.store.kinds import KINDS, Kind, Need
from tracker.store.local import LocalStore

_READERS = 8


@dataclass(frozen=True)
class Report:
    """What a verification read, and what is wrong; ``ok`` when nothing was lost."""

    url: str
    counts: dict[str, int]  # category -> keys
    sizes_bytes: dict[str, int]  # category -> bytes
    problems: tuple[Problem, ...]  # the serious ones first

    @property
    def ok(self) -> bool:
        """Whether nothing is missing, damaged or unreadable; orphaned, unfinished and unknown keys do no harm."""
        return not any(problem.is_serious for problem in self.problems)


CheckCode = Callable[[Store, str], list[str]]


def verify(
    store: Store,
    run: str | None = None,
    *,
    on_key: Callable[[Info], None] | None = None,
    check_code: CheckCode | None = None,
    kinds: Sequence[Kind] = KINDS,
) -> Report:
    """Read a whole store, or one run with the code and objects that it refers to, and report what is wrong.

    Never writes. Safe beside writers: keys that vanish while this reads are no problem. ``on_key`` is called for each
    key that was read, for progress; ``check_code`` names what is wrong with the bundle of a snapshot; ``kinds`` are
    the documents that are known: ``tracker.replay.kinds.ALL_KINDS`` are those of all rooms. Raises ``NotFound`` when
    there is no store, ``StoreUnavailable`` when it goes away.
    """
    require_format(store)
    infos = list(store.list(keys.run_folder(run) if run else ""))
    reading = _Reading(store, kinds, on_key)
    findings, rests = _apart(store, list(reading.inspect_all(infos)))
    if run:
        findings += reading.needs_of(findings)
    present = _Present(store, {finding.info.key for finding in findings})
    problems = [*rests, *(problem for finding in findings for problem in finding.problems)]
    problems += _relations(findings, present)
    if run is None:
        problems += unneeded_payloads(findings)
    if check_code is not None:
        problems += _check_bundles(store, findings, check_code)
    if run is None and isinstance(store, LocalStore):
        problems += _leftovers(store)
    counts, sizes = Counter[str](), Counter[str]()
    for finding in findings:
        counts[finding.category] += 1
        sizes[finding.category] += finding.info.size_bytes
    problems.sort(key=lambda each: (not each.is_serious, each.key, each.kind))
    return Report(store.url, dict(counts), dict(sizes), tuple(problems))


def _apart(store: Store, findings: list[Finding]) -> tuple[list[Finding], list[Problem]]:
    """What belongs to runs and what is left of runs that are being removed: nobody reads that, whatever it lacks."""
    whole = {finding.info.key for finding in findings}
    runs = {key.split("/")[1] for key in whole if key.startswith(keys.RUNS)}
    doubtful = [run for run in runs if ids.is_id(run) and keys.run_document(run) not in whole]
    removed = {keys.run_folder(run) for run in doubtful if _info(store, keys.removal_document(run)) is not None}
    if not removed:
        return findings, []
    rest = {each.info.key for each in findings if keys.folder_of(each.info.key) in removed}
    detail = "left of a run that was removed: `hindsight gc` deletes it"
    problems = [
        Problem("orphaned", each.info.key, detail, each.info.size_bytes) for each in findings if each.info.key in rest
    ]
    return [each for each in findings if each.info.key not in rest], problems


@dataclass(frozen=True)
class _Present:
    """Which keys are there: those that were listed and, beyond them, those that are asked for."""

    store: Store
    listed: set[str]

    def __contains__(self, key: str) -> bool:
        if key in self.listed:
            return True
        try:
            # Asked for even after a complete listing, because the key may have been written since.
            self.store.info(key)
        except (KeyNotFound, BadKey):
            return False
        return True


@dataclass(frozen=True)
class _Reading:
    """Reads keys, several at a time."""

    store: Store
    kinds: Sequence[Kind]
    on_key: Callable[[Info], None] | None

    def inspect_all(self, infos: Iterable[Info]) -> Iterator[Finding]:
        with ThreadPoolExecutor(_READERS) as pool:
            for found in pool.map(self._inspect, infos):
                if found is not None:
                    if self.on_key is not None:
                        self.on_key(found.info)
                    yield found

    def needs_of(self, findings: list[Finding]) -> list[Finding]:
        """Whatever these refer to, and what that refers to."""
        seen = {finding.info.key for finding in findings}
        found, last = list[Finding](), findings
        while wanted := dict.fromkeys(need.key for each in last for need in each.needs if need.key not in seen):
            seen.update(wanted)
            last = list(self.inspect_all(info for key in wanted if (info := _info(self.store, key))))
            found += last
        return found

    def _inspect(self, info: Info) -> Finding | None:
        try:
            return inspect(self.store, info, self.kinds)
        except KeyNotFound:
            return None  # sealed, compacted or collected since it was listed


def _check_bundles(store: Store, findings: list[Finding], check_code: CheckCode) -> Iterator[Problem]:
    """Problems of bundles that can be read; those of which something was told need no more."""
    told = {finding.info.key for finding in findings if finding.problems}
    for finding in findings:
        found = finding.snapshot
        if found is not None and found.kind == "git":
            key = keys.code_bundle(found.snapshot)
            info = _info(store, key) if key not in told else None
            for problem in check_code(store, found.snapshot) if info is not None else []:
                yield Problem("damaged", key, problem, info.size_bytes if info else 0)


def _info(store: Store, key: str) -> Info | None:
    try:
        return store.info(key)
    except KeyNotFound:
        return None


def _relations(findings: list[Finding], present: _Present) -> Iterator[Problem]:
    yield from _references(findings, present)
    yield from _incomplete_runs(findings, present)
    yield from _segment_problems(findings)
    yield from lost_values(findings, present.__contains__)
    yield from unfinished_attempts(findings, present.__contains__)


def _references(findings: list[Finding], present: _Present) -> Iterator[Problem]:
    """What documents name and the store does not have; each missing key once, however many refer to it."""
    missing: dict[str, list[tuple[str, Need]]] = defaultdict(list)
    for finding in findings:
        key = finding.info.key
        if finding.owner is not None and finding.owner not in present:
            detail = f"it belongs to {finding.owner}, which is not in the store"
            yield Problem("orphaned", key, detail, finding.info.size_bytes)
            continue
        for need in finding.needs:
            if need.key in missing or need.key not in present:
                missing[need.key].append((key, need))
    named = {key for pairs in missing.values() for key, _ in pairs}
    gone = {key for key in named if _info(present.store, key) is None}  # removed together with what they need
    missing = {
        lost: kept for lost, pairs in missing.items() if (kept := [pair for pair in pairs if pair[0] not in gone])
    }
    for lost, ((key, need), *others) in missing.items():
        further = f", and so do {len(others)} more" if others else ""
        yield Problem("missing", lost, f"{key} refers to it: {need.purpose}{further}", need.size_bytes)


def _incomplete_runs(findings: list[Finding], present: _Present) -> Iterator[Problem]:
    """Runs without their document, and attempts without their start."""
    expected: dict[str, int] = defaultdict(int)
    for finding in findings:
        parts = finding.info.key.split("/")
        if parts[0] != "runs" or finding.category == "other" or not ids.is_id(parts[1]):
            continue
        expected[keys.run_document(parts[1])] += finding.info.size_bytes
        if parts[2] == "attempts" and ids.is_id(parts[3]):
            expected[keys.attempt_document(parts[1], parts[3], "start")] += finding.info.size_bytes
    for key, size in expected.items():
        if key not in present:
            yield Problem(
                "missing", key, f"{size:,} bytes stand beside it; it was lost, or a copy is not complete", size
            )


def _segment_problems(findings: list[Finding]) -> Iterator[Problem]:
    """Part files without their segment, and segments whose frames overlap without one covering the other."""
    parsed = {finding.info.key: keys.SegmentKey.parse(finding.info.key) for finding in findings}
    segments = sorted(key for key in parsed.values() if key is not None)
    whole = {str(key) for key in segments if not key.part}
    for key in segments:
        base = str(keys.SegmentKey(key.run, key.path, key.shard, key.first, key.last))
        if key.part and base not in whole:
            yield Problem("missing", base, f"its further columns are there, in {key}")
    for one, other in pairwise(key for key in segments if not key.part):
        same = (one.run, one.path, one.shard) == (other.run, other.path, other.shard)
        if same and one.last >= other.first and not one.covers(other) and not other.covers(one):
            yield Problem("damaged", str(other), f"its frames overlap those of {one}; values between would count twice")


def _leftovers(store: LocalStore) -> Iterator[Problem]:
    for path in durable.leftovers(store.root):
        try:
            size = path.lstat().st_size
        except FileNotFoundError:
            continue  # finished meanwhile
        detail = "an unfinished write: its writer is at work or was killed; if no run is active it may be deleted"
        yield Problem("orphaned", path.relative_to(store.root).as_posix(), detail, size)
