"""The kinds of documents that replays write, and those of all rooms together."""

from __future__ import annotations

from collections.abc import Iterator

from tracker.checkpoint import kinds as of_checkpoints
from tracker.replay.documents import Plan, SliceResult
from tracker.replay.watching import Look
from tracker.store import keys
from tracker.store import kinds as of_the_store
from tracker.store.documents import encode
from tracker.store.kinds import ID, Kind, Need


def _needs_of_plan(found: Plan) -> Iterator[Need]:
    for digest in dict.fromkeys(run.sources for run in found.runs if run.sources is not None):
        yield Need(keys.object_key(digest), "a version of the code with the probes in it")


def _needs_of_result(found: SliceResult) -> Iterator[Need]:
    yield Need(keys.replay_plan(found.replay), "what was asked")
    yield from (Need(key, "answers of that replay") for key in found.segments)


_OUTCOMES = ("timed out", "failed", "diverged", "answered")


def _merge_results(one: SliceResult, other: SliceResult) -> SliceResult:
    """The one that answers, then the one that answers more."""
    return max(one, other, key=lambda found: (_OUTCOMES.index(found.outcome), found.values, encode(found)))


KINDS = (
    Kind(
        rf"replays/{ID}/plan\.json",
        Plan,
        told_key=lambda found: keys.replay_plan(found.replay),
        needs=_needs_of_plan,
    ),
    Kind(
        rf"replays/{ID}/slices/\d{{6,}}\.json",
        SliceResult,
        told_key=lambda found: keys.replay_result(found.replay, found.number),
        owner=lambda found: keys.run_document(found.run),
        needs=_needs_of_result,
        merge=_merge_results,
    ),
    Kind(
        rf"watches/[0-9a-f]{{64}}/{ID}\.json",
        Look,
        told_key=lambda found: keys.watch_document(found.repository, found.branch, found.look),
    ),
)

ALL_KINDS = (*of_the_store.KINDS, *of_checkpoints.KINDS, *KINDS)
