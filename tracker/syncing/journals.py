"""Open journals of the source: their records travel as segments, never as journals.

A journal is published from its first slot to the last that is settled. Such segments of one journal lie in each other,
and all in those that the run itself publishes when the journal is sealed, so readers see every record once, whoever
synchronises how often (docs/design/0016).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tracker.errors import Corrupt, KeyNotFound
from tracker.store.base import Info, Store
from tracker.store.journals import Frames, decode_journal, read_journal
from tracker.store.keys import JournalKey, SegmentKey
from tracker.store.processes import is_alive, is_visible


@dataclass(frozen=True)
class OpenJournal:
    """A journal as it was read: what of it can be published."""

    key: JournalKey
    frames: Frames
    stop: int  # the slot after the last one that is published
    is_final: bool  # its writer is gone

    def holds(self, segment: SegmentKey) -> bool:
        """Whether a segment says nothing that this journal does not say, too."""
        last = self.key.first + self.stop - 1
        return segment.shard == self.key.shard and self.key.first <= segment.first and segment.last <= last

    def touches(self, segment: SegmentKey) -> bool:
        """Whether a segment was made from this journal while it was open."""
        end = self.key.first + self.frames.layout.slots
        return segment.shard == self.key.shard and self.key.first <= segment.first < end


def open_journals(
    store: Store,
    infos: Iterable[Info],
    *,
    is_over: Callable[[str], bool] = lambda attempt: False,
    on_damage: Callable[[str, str], None] = lambda key, reason: None,
) -> dict[str, OpenJournal]:
    """The journals among these keys that can be read. ``is_over`` says whether an attempt shows no sign of life;
    ``on_damage`` is told of those of which nothing can be read.
    """
    found: dict[str, OpenJournal] = {}
    # The newest first: a journal lies there before the one ahead of it is full.
    for info in sorted(infos, key=lambda info: info.key, reverse=True):
        key = JournalKey.parse(info.key)
        try:
            frames = None if key is None else _read(store, info.key)
        except Corrupt as exc:
            on_damage(info.key, str(exc))
            continue
        if key is not None and frames is not None and _belongs(frames, key):
            is_final = _is_dead(frames) or is_over(key.attempt)
            found[info.key] = OpenJournal(key, frames, frames.end if is_final else frames.settled, is_final)
    return found


def _read(store: Store, key: str) -> Frames | None:
    """A journal; ``None`` when it was sealed since the listing."""
    path = store.local_path(key)
    try:
        return decode_journal(store.get(key), key=key) if path is None else read_journal(path)
    except KeyNotFound:
        return None
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.ESTALE):
            raise
        return None


def _belongs(frames: Frames, key: JournalKey) -> bool:
    header = frames.header
    return (header.run, header.shard, header.first) == (key.run, key.shard, key.first)


def _is_dead(frames: Frames) -> bool:
    writer = frames.header.writer
    return is_visible(writer) and not is_alive(writer)


def parsed_segments(names: Iterable[str]) -> list[SegmentKey]:
    """The segments among keys."""
    return [key for key in map(SegmentKey.parse, names) if key is not None]


def covered(names: Iterable[str]) -> set[str]:
    """The segments that others of the same path and shard cover."""
    gone: set[str] = set()
    last: SegmentKey | None = None
    for key in sorted(parsed_segments(names), key=lambda key: (key.path, key.shard, key.first, -key.last, key.part)):
        if last is None or not last.covers(key):
            last = key if not key.part else last
        elif (last.first, last.last) != (key.first, key.last):
            gone.add(str(key))
    return gone
