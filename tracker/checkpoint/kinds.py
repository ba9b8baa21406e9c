"""What verification should know about the documents of checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from tracker.checkpoint.invocations import Invocation
from tracker.checkpoint.manifest import Manifest
from tracker.store import keys
from tracker.store.kinds import ATTEMPT, ID, Kind, Need


def _key(found: Manifest) -> str:
    return keys.checkpoint_document(found.run, found.attempt, found.number)


def _needs(found: Manifest) -> Iterator[Need]:
    """Objects with the tensors, and those that they are differences from."""
    for digest in dict.fromkeys((*(tensor.object for tensor in found.tensors), *found.rests_on)):
        yield Need(keys.object_key(digest), "a part of that checkpoint")


def _needs_of_call(found: Invocation) -> Iterator[Need]:
    """Arguments that are files, and objects with the tensors of the others."""
    for name, kept in found.kept.items():
        yield Need(keys.object_key(kept.object), f"the argument {name}", kept.size_bytes)
    for digest in dict.fromkeys((*(tensor.object for tensor in found.tensors), *found.rests_on)):
        yield Need(keys.object_key(digest), "the arguments of that call")


KINDS = (
    Kind(rf"runs/{ID}/checkpoints/{ID}/\d{{10}}\.json", Manifest, told_key=_key, needs=_needs),
    Kind(
        rf"{ATTEMPT}/invocation\.json",
        Invocation,
        told_key=lambda found: keys.attempt_document(found.run, found.attempt, "invocation"),
        needs=_needs_of_call,
    ),
)
