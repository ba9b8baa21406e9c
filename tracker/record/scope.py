"""Where a record belongs: scopes, the frames of open loops and steps, and how a journal learns of them."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from tracker.errors import NameCollision
from tracker.record.journal import Journal
from tracker.store import frames
from tracker.store.frames import Name, Need

if TYPE_CHECKING:
    from tracker.record.recorder import Recorder

Scope = tuple["Recorder", "Journal | None", int, "Frame | None", int, Any]
"""Where a record belongs: recorder, the journal in which ``number`` stands for this context, frame, index, iterated
value.

A tuple, because one is made per iteration. It never changes: in a later journal its number is found in
``journal.contexts``.
"""


class Definition:
    """A name that a journal must know before it is used: its key there, and its payload, made when it is written."""

    __slots__ = ("key", "labels", "name", "role")

    def __init__(self, role: str, name: str, labels: dict[str, Any]) -> None:
        self.role, self.name, self.labels = role, name, labels
        self.key: tuple[Any, ...] = (role, name, *labels.items())

    @property
    def encoded(self) -> bytes:
        """The payload of the NAME frame."""
        return msgspec.json.encode(Name(name=self.name, role=self.role, labels=self.labels))


@lru_cache(maxsize=256)
def output_definition(stream: str, level: str | None) -> Definition:
    """The definition of a stream of captured output, and a level of it."""
    return Definition("output", stream, {"level": level} if level else {})


class Frame:
    """One loop or step key that is open: what all its iterations have in common."""

    __slots__ = ("key", "name", "names", "parent", "role", "start", "stride")

    def __init__(self, parent: Scope, role: str, name: str, start: int | None = None, stride: int | None = None):
        self.parent, self.role, self.name, self.start, self.stride = parent, role, name, start, stride
        self.key: tuple[Any, ...] = (role, name, start, stride)
        above = parent[3]
        self.names: frozenset[str] = (above.names if above else frozenset()) | {name}

    @property
    def encoded(self) -> bytes:
        """The payload of the NAME frame."""
        return msgspec.json.encode(Name(name=self.name, role=self.role, start=self.start, stride=self.stride))


def need_of(scope: Scope, heap_bytes: int = 0) -> Need:
    """What a record of so many bytes takes in a new journal, with the contexts around it."""
    slots, frame = 8, scope[3]
    while frame is not None:
        slots += 4  # its name, its value, the text of that, and itself
        heap_bytes += len(frame.encoded) + (4 * len(scope[5]) if isinstance(scope[5], str) else 0)
        scope = frame.parent
        frame = scope[3]
    return Need(heap_bytes, slots)


def put_context(journal: Journal, frame: Frame, parent: int, index: int, value: Any, began_ns: int = 0) -> int:
    """Commit the frames of one iteration or step; returns its number, or -1 when the journal is full.

    ``began_ns``: when it began, for one that is written again in a later journal.
    """
    name = journal.define(frame)
    if name < 0:
        return -1
    if frame.role == "step":
        kind, bits = _context_value(journal, value, frames.STEP_FLOAT)
        return -1 if kind < 0 else _put_bits(journal, kind, bits, parent, name)
    if value is None:
        number = name | (frames.REPEATED if began_ns else 0)
        return journal.put(frames.ITERATION, index, parent, number, at_ns=began_ns or None)
    kind, bits = _context_value(journal, value, frames.ITERATION_FLOAT)
    if kind < 0:
        return -1
    # The value's frame names the iteration, so both slots are taken before either is written, the iteration last.
    position = journal.next_slot()
    if position >= journal.limit:
        journal.turn_away(position)
        return -1
    if _put_bits(journal, kind, bits, position, 0) < 0:
        journal.void(position)
        return -1
    tag = frames.ITERATION << frames.KIND_SHIFT | name | (frames.REPEATED if began_ns else 0)
    frames.SLOT_INT.pack_into(journal.slots, position, index, began_ns or time.time_ns(), parent, tag)
    return position


def _context_value(journal: Journal, value: Any, float_kind: int) -> tuple[int, float | int]:
    """Kind and bits for the value of an iteration or step: float, int, bool and text follow each other in
    ``frames``.
    """
    if isinstance(value, bool):
        return float_kind + 2, int(value)
    if isinstance(value, int):
        return float_kind + 1, value
    if isinstance(value, float):
        return float_kind, value
    number = journal.intern(value)
    return (float_kind + 3, number) if number > 0 else (-1, 0)


def _put_bits(journal: Journal, kind: int, bits: float | int, context: int, number: int) -> int:
    if isinstance(bits, float):
        return journal.put_float(kind, bits, context, number)
    return journal.put(kind, bits, context, number)


def check_collisions(scope: Scope, name: str, labels: dict[str, Any]) -> None:
    frame = scope[3]
    if not labels or frame is None or frame.names.isdisjoint(labels):
        return
    taken = sorted(frame.names.intersection(labels))
    raise NameCollision(
        f"label {taken[0]!r} of {name!r} is the name of a loop or step key around it: "
        "every record already carries that; rename the label"
    )
