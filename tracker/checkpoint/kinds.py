"""What verification should know about the documents of checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from tracker.checkpoint.manifest import Manifest
from tracker.store import keys
from tracker.store.kinds import ID, Kind, Need


def _key(found: Manifest) -> str:
    return keys.checkpoint_document(found.run, found.attempt, found.number)


def _needs(found: Manifest) -> Iterator[Need]:
    """Objects with the tensors, and those that they are differences from."""
    for digest in dict.fromkeys((*(tensor.object for tensor in found.tensors), *found.rests_on)):
        yield Need(keys.object_key(digest), "a part of that checkpoint")


KINDS = (Kind(rf"runs/{ID}/checkpoints/{ID}/\d{{10}}\.json", Manifest, told_key=_key, needs=_needs),)
