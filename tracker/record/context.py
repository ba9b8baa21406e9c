"""Where in the run something is logged: loops, iterations and steps. Threads and tasks each keep their own place."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, Protocol, TypeVar, overload

from tracker.errors import InputError, NameCollision, UnstorableValue
from tracker.record.recorder import CLOSED, Recorder
from tracker.record.scope import Frame, Scope
from tracker.record.values import check_name, plain
from tracker.store import frames

Item = TypeVar("Item")

PROCESS = Recorder()
"""The recorder of the process: everything outside a ``with run(...)`` goes here, in every thread."""

_scope: ContextVar[Scope] = ContextVar("hindsight_scope", default=PROCESS.root)
current_scope = _scope.get
set_scope = _scope.set


class Watcher(Protocol):
    """Who wants to know where loops begin and end, and may take their iterations in hand."""

    def watch(self, name: str, iterable: Iterable[Any], caller: FrameType) -> tuple[Iterable[Any], int]:
        """What to iterate over instead, and the index of its first item."""
        ...


_watcher: ContextVar[Watcher | None] = ContextVar("hindsight_watcher", default=None)
current_watcher = _watcher.get
set_watcher = _watcher.set

_pack = frames.SLOT_INT.pack_into
_time_ns = time.time_ns
_ITERATION = frames.ITERATION << frames.KIND_SHIFT
_ITERATION_INT = frames.ITERATION_INT << frames.KIND_SHIFT
_INT64 = range(-(1 << 63), 1 << 63)
_MAX_TEXT_CHARS = 1000  # of an iterated value or a step key


@overload
def loop(name: str, iterable: AsyncIterable[Item]) -> AsyncIterator[Item]: ...
@overload
def loop(name: str, iterable: Iterable[Item]) -> Iterator[Item]: ...
def loop(name: str, iterable: Any) -> Any:
    """Iterate and note, with everything logged inside, which iteration it was.

    The column of the loop holds the iterated value where it is a number, bool or text, else the index from 0.
    ``break``, ``return`` and exceptions leave the context as it was before the loop. Works with ``async for`` where the
    iterable is asynchronous. Nothing is read ahead. ``BadName`` for a name that is not a text or begins with ``@``,
    ``NameCollision`` for one that is a step key around the loop.

    >>> import tracker
    >>> [x for x in tracker.loop("epoch", range(3))]
    [0, 1, 2]
    """
    scope = current_scope()
    progression = _progression(iterable)
    frame = _frame(scope, "loop", name, *(progression or (None, None)))
    if isinstance(iterable, AsyncIterable):
        return _iterate_async(frame, iterable)
    if not hasattr(type(iterable), "__iter__"):
        iter(iterable)  # a clear TypeError here; where it works it may draw random numbers, as PyTorch's loaders do
    watcher, first = current_watcher(), 0
    if watcher is not None:
        iterable, first = watcher.watch(frame.name, iterable, sys._getframe(1))
    return _iterate(frame, iterable, progression is not None, first)


def _progression(iterable: Any) -> tuple[int, int] | None:
    """Start and stride of a range, so that iterations need not state their values."""
    if type(iterable) is range and all(part in _INT64 for part in (iterable.start, iterable.stop, iterable.step)):
        return iterable.start, iterable.step
    return None


def _frame(scope: Scope, role: str, name: Any, start: int | None = None, stride: int | None = None) -> Frame:
    recorder = scope[0]
    try:
        check_name(name, f"the name of a {role}")
        above = scope[3]
        while above is not None:
            if above.name == name and "step" in (role, above.role):
                raise NameCollision(f"{role} {name!r} is inside a {above.role} of the same name: rename one of them")
            above = above.parent[3]
    except InputError as exc:
        recorder.refuse(exc)
        name = _harmless(name) or role
    return Frame(scope, role, name, start, stride)


def _harmless(name: Any) -> str:
    """A name that can be used, for one that cannot."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(name)[:200]).lstrip("@_ ")


def _here(frame: Frame) -> Frame:
    """The frame where its loop begins to run, which may be elsewhere than where ``loop`` was called."""
    scope = current_scope()
    if scope is frame.parent:
        return frame
    return _frame(scope, frame.role, frame.name, frame.start, frame.stride)


def _iterate(frame: Frame, iterable: Iterable[Any], ranged: bool, index: int) -> Iterator[Any]:
    frame = _here(frame)
    recorder = frame.parent[0]
    bound, parent, tag = CLOSED, 0, 0
    try:
        for item in iterable:
            journal = recorder.journal
            value = None if ranged else _iterated(item)
            if journal is bound and value is None and (position := journal.next_slot()) < journal.limit:
                _pack(journal.slots, position, index, _time_ns(), parent, tag)
                set_scope((recorder, journal, position, frame, index, None))
            elif type(value) is int and journal is bound and (position := _two_slots(journal, value)):
                _pack(journal.slots, position, index, _time_ns(), parent, tag)
                set_scope((recorder, journal, position, frame, index, value))
            else:
                if journal is bound and value is None:
                    journal.turn_away(position)
                scope = recorder.begin(frame, index, value)
                set_scope(scope)
                if scope[1] is not None and scope[1] is recorder.journal:
                    bound = scope[1]
                    parent = recorder.number_in(bound, frame.parent)
                    tag = _ITERATION | bound.names[frame.key]
            yield item
            index += 1
        recorder.end_loop(frame, index)
    finally:
        _leave(frame)


def _two_slots(journal: Any, value: int) -> int:
    """Write the value of an iteration; returns the position for the iteration itself, or 0 when the journal is full."""
    position: int = journal.next_slot()
    beside = journal.next_slot()
    if beside >= journal.limit:
        journal.turn_away(position)
        journal.turn_away(beside)
        return 0
    _pack(journal.slots, beside, value, 0, position, _ITERATION_INT)
    return position


async def _iterate_async(frame: Frame, iterable: AsyncIterable[Any]) -> AsyncIterator[Any]:
    frame = _here(frame)
    recorder, index = frame.parent[0], 0
    try:
        async for item in iterable:
            set_scope(recorder.begin(frame, index, _iterated(item)))
            yield item
            index += 1
        recorder.end_loop(frame, index)
    finally:
        _leave(frame)


_OPAQUE = (tuple, list, dict, set)


def _iterated(item: Any) -> Any:
    """The iterated value when a column can hold it, else ``None``: then the index stands for it."""
    kind = type(item)
    if kind is int:
        return item if item in _INT64 else None
    if kind in _OPAQUE:
        return None
    if kind is str:
        return item if len(item) <= _MAX_TEXT_CHARS else None
    value = plain(item)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value in _INT64 else None
    if isinstance(value, str):
        return value if len(value) <= _MAX_TEXT_CHARS else None
    return value if isinstance(value, float | bool) else None


def _leave(frame: Frame) -> None:
    """Go back to where the loop or step began, unless this runs elsewhere (a generator closed by another task or
    thread).
    """
    above = current_scope()[3]
    while above is not None:
        if above is frame:
            set_scope(frame.parent)
            return
        above = above.parent[3]


@contextmanager
def iteration(name: str, index: int | None = None, value: Any = None) -> Iterator[Any]:
    """One iteration of a loop that ``loop`` cannot drive: ``with iteration("epoch", 3): …``.

    ``index`` counts from 0, by itself where it is ``None``; ``value`` is what the column shows, by default the index.
    Errors as for ``loop``.
    """
    scope = current_scope()
    index = scope[0].count_iteration(scope, name) if index is None else plain(index)
    if type(index) is not int or index not in _INT64:
        raise UnstorableValue(f"the index of iteration {name!r} is {index!r}: expected an integer of at most 64 bits")
    frame = _frame(scope, "loop", name)
    shown = _iterated(value) if value is not None else None
    set_scope(scope[0].begin(frame, index, None if shown == index and type(shown) is int else shown))
    try:
        yield value
        scope[0].end_loop(frame, 1)  # nobody knows whether another one follows, and this one's time is known now
    finally:
        _leave(frame)


@contextmanager
def step(**keys: Any) -> Iterator[None]:
    """Put keys on everything logged inside: ``with step(phase="train", batch=7): …``.

    Values are numbers, bool or text. Steps with equal keys in the same place are one context: what is logged in both
    stands in the same row. ``NameCollision`` where a key is already a loop or step key around it.
    """
    scope = current_scope()
    first: Frame | None = None
    for key, given in keys.items():
        value = plain(given)
        if not _is_step_value(value):
            shown = repr(value)[:80]
            problem = UnstorableValue(
                f"step key {key!r} cannot be {shown}: expected a number of at most 64 bits, a bool, or a text of at "
                f"most {_MAX_TEXT_CHARS} characters"
            )
            scope[0].refuse(problem)
            value = shown
        frame = _frame(scope, "step", key)
        first = first or frame
        scope = scope[0].begin(frame, 0, value)
    if first is None:
        yield
        return
    set_scope(scope)
    try:
        yield
    finally:
        _leave(first)


def _is_step_value(value: Any) -> bool:
    if type(value) is int:
        return value in _INT64
    return type(value) in (float, bool) or (type(value) is str and len(value) <= _MAX_TEXT_CHARS)


def describe(scope: Scope) -> Mapping[str, Any]:
    """Loop and step values of a scope, outermost first."""
    found: list[tuple[str, Any]] = []
    frame = scope[3]
    while frame is not None:
        start, stride = frame.start, frame.stride
        value = scope[5]
        if value is None:
            value = scope[4] if start is None or stride is None else start + stride * scope[4]
        found.append((frame.name, value))
        scope, frame = frame.parent, frame.parent[3]
    return dict(reversed(found))
