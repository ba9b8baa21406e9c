"""The kinds of documents that a store holds: their names, and what they need beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from tracker.store import documents, keys, merging

ID = "[0-9a-z]{26}"
ATTEMPT = f"runs/{ID}/attempts/{ID}"


@dataclass(frozen=True)
class Need:
    """A key that a document names, and what would be lost with it."""

    key: str
    purpose: str
    size_bytes: int = 0


def _nowhere_else(_: Any) -> None:
    return None


def _nothing(_: Any) -> Iterator[Need]:
    return iter(())


Merge = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Kind:
    """Documents of one kind: what their keys look like, and what they say of themselves.

    ``told_key`` is the key at which a document says that it belongs, ``owner`` the key without which nobody asks for
    it, ``needs`` what it cannot be used without. ``merge`` says what two stores agree on that both have it; without
    one it is written once and each keeps its own. Rooms above the store give theirs to ``verify`` and ``sync``.
    """

    pattern: str
    form: type[msgspec.Struct]
    told_key: Callable[[Any], str | None] = _nowhere_else
    owner: Callable[[Any], str | None] = _nowhere_else
    needs: Callable[[Any], Iterator[Need]] = _nothing
    merge: Merge | None = None

    @property
    def has_needs(self) -> bool:
        """Whether documents of this kind may name keys that they need."""
        return self.needs is not _nothing

    def fits(self, key: str) -> bool:
        """Whether a key is one of these documents, by its name."""
        return re.fullmatch(self.pattern, key) is not None


def _needs_of_code(found: documents.CodeDocument) -> Iterator[Need]:
    if found.snapshot:
        yield Need(keys.code_document(found.snapshot), "the code of that run")


def _needs_of_snapshot(found: documents.Snapshot) -> Iterator[Need]:
    if found.kind == "git":
        yield Need(keys.code_bundle(found.snapshot), "its commits")
    else:
        yield from (Need(keys.object_key(file.digest), file.path, file.size_bytes) for file in found.files)


KINDS = (
    Kind(r"format\.json", documents.Format),
    Kind(
        r"launches/[0-9a-f]{64}\.json",
        documents.Launch,
        told_key=lambda found: keys.launch_document(found.launch_key),
        owner=lambda found: keys.run_document(found.run),
        merge=merging.launches,
    ),
    Kind(
        rf"runs/{ID}/run\.json",
        documents.RunDocument,
        told_key=lambda found: keys.run_document(found.run),
        merge=merging.runs,
    ),
    Kind(
        rf"runs/{ID}/marks/{ID}\.json",
        documents.Mark,
        told_key=lambda found: keys.mark_document(found.run, found.mark),
        owner=lambda found: keys.run_document(found.run),
    ),
    Kind(rf"removed/{ID}\.json", documents.Removal, told_key=lambda found: keys.removal_document(found.run)),
    Kind(rf"holds/{ID}\.json", documents.Hold, told_key=lambda found: keys.hold_document(found.hold)),
    Kind(rf"sweeps/{ID}\.json", documents.Sweep, told_key=lambda found: keys.sweep_document(found.sweep)),
    Kind(
        rf"{ATTEMPT}/start\.json",
        documents.StartDocument,
        told_key=lambda found: keys.attempt_document(found.run, found.attempt, "start"),
    ),
    Kind(rf"{ATTEMPT}/code\.json", documents.CodeDocument, needs=_needs_of_code),
    Kind(rf"{ATTEMPT}/lease\.json", documents.Lease, merge=merging.leases),
    Kind(rf"{ATTEMPT}/end\.json", documents.EndDocument, merge=merging.ends),
    Kind(rf"{ATTEMPT}/failure\.json", documents.RankFailure, merge=merging.failures),
    Kind(
        r"code/[^/]+\.json",
        documents.Snapshot,
        told_key=lambda found: keys.code_document(found.snapshot),
        needs=_needs_of_snapshot,
    ),
)
