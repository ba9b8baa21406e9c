"""Marks: what people say of a run after it began, its tags and its pin, as small documents that are never changed.

Two stores merge theirs by having both, so a tag that was taken away in one of them is gone in the other, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from tracker.errors import InputError
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import Mark, encode

_MAX_TAG_CHARS = 200


def tags_after(tags: Sequence[str], marks: Iterable[Mark]) -> tuple[str, ...]:
    """The tags that a run has after these changes, which come in the order of time.

    >>> tags_after(("a", "b"), [Mark(run="", mark="", at=0.0, add=("c",), remove=("a",))])
    ('b', 'c')
    """
    found = dict.fromkeys(tags)
    for mark in marks:
        for tag in mark.remove:
            found.pop(tag, None)
        found.update(dict.fromkeys(mark.add))
    return tuple(found)


def is_pinned(marks: Iterable[Mark]) -> bool:
    """Whether the last change of the pin has set it."""
    said = [mark.pinned for mark in marks if mark.pinned is not None]
    return bool(said) and said[-1]


def add_mark(
    store: Store, run: str, *, add: Sequence[str] = (), remove: Sequence[str] = (), pinned: bool | None = None
) -> str:
    """Note a change, later than all that this store has of the run, whatever clocks say; returns its id.

    Atomic, and safe beside others who change the same run: both changes stay, and of two about one tag the later wins.
    """
    check_changes(add, remove)
    known = [info.key.rsplit("/", 1)[1].removesuffix(".json") for info in store.list(keys.marks_folder(run))]
    mark = ids.later_id(max((name for name in known if ids.is_id(name)), default=""))
    document = Mark(run=run, mark=mark, at=time.time(), add=tuple(add), remove=tuple(remove), pinned=pinned)
    store.create(keys.mark_document(run, mark), encode(document))
    return mark


def check_changes(add: Sequence[str], remove: Sequence[str]) -> None:
    """Refuse, with ``InputError``, what cannot be a tag, and one that is to be added and removed at once."""
    for tag in (*add, *remove):
        _check(tag)
    both = sorted(set(add) & set(remove))
    if both:
        raise InputError(f"the tag {both[0]!r} is to be added and removed at once: expected one of the two")


def _check(tag: str) -> None:
    if not tag or tag != tag.strip() or not tag.isprintable() or len(tag) > _MAX_TAG_CHARS:
        raise InputError(
            f"{tag!r} cannot be a tag: expected 1 to {_MAX_TAG_CHARS} printable characters, without space at the ends"
        )
