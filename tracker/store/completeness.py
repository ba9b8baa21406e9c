"""Whether what a run says that it wrote is there, and what is there that nothing needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence

from tracker.store import keys
from tracker.store.ids import is_id
from tracker.store.inspection import Finding, Problem
from tracker.store.keys import JournalKey, SegmentKey
from tracker.store.segments import uncovered

_DOUBTFUL = {"damaged", "newer", "unknown"}


def lost_values(findings: Sequence[Finding], is_there: Callable[[str], bool]) -> Iterator[Problem]:
    """Ended attempts whose segments hold fewer values than their end counts.

    They may hold more: workers of the attempt that ended by themselves are not in its count, nor is what was published
    before a crash. Nothing is said where a segment cannot be read, which is told by itself, and where a journal waits.
    """
    counted, doubtful = _values(findings)
    for finding in findings:
        ended = _attempt_of(finding.info.key, "end.json")
        if finding.values is None or ended is None:
            continue
        run, attempt = ended
        found = counted.get((run, attempt), 0)
        if found >= finding.values or (run, attempt) in doubtful or not is_there(keys.run_document(run)):
            continue
        yield Problem(
            "missing",
            keys.data_folder(run),
            f"the end of attempt {attempt} counts {finding.values:,} values, and its segments hold {found:,}; the "
            "others were lost, or wait in the spool of the machine that it ran on (`hindsight recover` there)",
        )


def _values(findings: Sequence[Finding]) -> tuple[dict[tuple[str, str], int], set[tuple[str, str]]]:
    """The values of every attempt, each once, and the attempts of which not everything could be read."""
    doubtful: set[tuple[str, str]] = set()
    held: dict[str, int] = {}
    sources: dict[SegmentKey, list[str]] = defaultdict(list)
    for finding in findings:
        key = finding.info.key
        if (journal := JournalKey.parse(key)) is not None:
            doubtful.add((journal.run, journal.attempt))
        elif (segment := SegmentKey.parse(key)) is not None:
            sources[SegmentKey(segment.run, segment.path, segment.shard, segment.first, segment.last)].append(key)
            held[key] = finding.values or 0
            if finding.problems:
                doubtful.add((segment.run, segment.attempt))
    counted: dict[tuple[str, str], int] = defaultdict(int)
    by_run: dict[str, dict[SegmentKey, list[str]]] = defaultdict(dict)
    for named, parts in sources.items():
        by_run[named.run][named] = parts
    for of_run in by_run.values():
        for named, parts in uncovered(of_run).items():
            counted[named.run, named.attempt] += sum(held[part] for part in parts)
    return counted, doubtful


def unfinished_attempts(findings: Sequence[Finding], is_there: Callable[[str], bool]) -> Iterator[Problem]:
    """Attempts that show neither an end nor a sign of life: the end was lost, or has not been copied yet."""
    found = {finding.info.key for finding in findings}
    journals = {(key.run, key.attempt) for key in map(JournalKey.parse, found) if key is not None}
    for key in sorted(found):
        started = _attempt_of(key, "start.json")
        if started is None:
            continue
        end, lease = (keys.attempt_document(*started, name) for name in ("end", "lease"))
        if lease in found or started in journals or is_there(end) or not is_there(key):
            continue
        detail = "it has neither an end nor a sign of life; the end was lost, or a copy of the run is not complete"
        yield Problem("unfinished", end, detail)


def _attempt_of(key: str, name: str) -> tuple[str, str] | None:
    """The run and the attempt whose document of this name it is; ``None`` for others, such as copies by hand."""
    match key.split("/"):
        case ["runs", run, "attempts", attempt, last] if last == name and is_id(run) and is_id(attempt):
            return run, attempt
    return None


def unneeded_payloads(findings: Sequence[Finding]) -> Iterator[Problem]:
    """Objects and bundles of a whole store that no document names; none where not every document could be read."""
    if any(problem.kind in _DOUBTFUL for finding in findings for problem in finding.problems):
        return
    needed = {need.key for finding in findings for need in finding.needs}
    snapshots: Collection[str] = {finding.info.key for finding in findings if finding.snapshot is not None}
    for finding in findings:
        key = finding.info.key
        document = key.removesuffix(".bundle") + ".json"
        if (finding.category == "object" and key not in needed) or (
            finding.category == "bundle" and document not in snapshots
        ):
            detail = "no document names it: its run was removed or killed, or is about to name it; `hindsight gc` knows"
            yield Problem("orphaned", key, detail, finding.info.size_bytes)
