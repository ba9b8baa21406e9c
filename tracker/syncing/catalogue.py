"""What a synchronisation knows of every key: what it is, when it is copied, and what must be there before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tracker.errors import BadKey, Corrupt, DamagedDocument
from tracker.store import documents, keys
from tracker.store.base import Info
from tracker.store.inspection import Category, categorise
from tracker.store.kinds import Kind, Need

MAX_DOCUMENT_BYTES = 64 << 20


class Rank(IntEnum):
    """The order of copying: whatever is named comes before what names it, and the end of an attempt last of all."""

    OBJECT = 0
    BUNDLE = 1
    SNAPSHOT = 2
    RUN = 3
    START = 4
    DOCUMENT = 5
    PART = 6
    SEGMENT = 7
    REPLAY = 8
    END = 9


@dataclass(frozen=True)
class Item:
    """One key of the source, and what is to be known before it is copied."""

    info: Info
    category: Category
    rank: Rank
    kind: Kind | None = None
    is_new: bool = False  # the target did not have it a moment ago

    @property
    def key(self) -> str:
        return self.info.key


def sort_key(info: Info, kinds: Sequence[Kind]) -> Item | None:
    """What a key is; ``None`` when nothing of ours has such a name."""
    category, kind = categorise(info.key, kinds)
    return None if category == "other" else Item(info, category, _rank(info.key, category), kind)


def _rank(key: str, category: Category) -> Rank:
    if category == "object":
        return Rank.OBJECT
    if category == "bundle":
        return Rank.BUNDLE
    if category == "segment":
        parsed = keys.SegmentKey.parse(key)
        return Rank.PART if parsed is not None and parsed.part else Rank.SEGMENT
    folder, name = key.split("/", 1)[0], key.rsplit("/", 1)[1]
    if folder == "code":
        return Rank.SNAPSHOT
    if folder == "runs":
        return {"run.json": Rank.RUN, "start.json": Rank.START, "end.json": Rank.END}.get(name, Rank.DOCUMENT)
    return Rank.REPLAY if folder == "replays" and name != "plan.json" else Rank.DOCUMENT


@dataclass(frozen=True)
class Told:
    """What a document says, as far as copying it goes."""

    document: Any
    needs: tuple[Need, ...]
    owner: str | None


def read_document(data: bytes, item: Item) -> Told:
    """A document that may be copied; ``Corrupt`` or ``BadKey`` when it is not what its key promises."""
    assert item.kind is not None
    found = documents.decode(data, item.kind.form, key=item.key)
    try:
        told, owner = item.kind.told_key(found), item.kind.owner(found)
        needs = tuple(_checked(item.kind.needs(found)))
    except (TypeError, ValueError, AttributeError) as exc:
        if isinstance(exc, BadKey):
            raise
        raise DamagedDocument(f"{item.key} says what cannot be: {exc}") from exc
    if told not in (None, item.key):
        raise Corrupt(f"{item.key} holds the document of {told}; it was copied or renamed by hand")
    return Told(found, needs, owner)


def _checked(needs: Iterator[Need]) -> Iterator[Need]:
    for need in needs:
        keys.check(need.key)
        yield need
