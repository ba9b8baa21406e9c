"""``log``: one frame in the mapped journal, in well under a microsecond."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from typing import Any, TypeVar

from tracker.errors import InputError, UnstorableValue
from tracker.record.context import current_scope
from tracker.record.values import plain
from tracker.store import frames

Value = TypeVar("Value")

_pack_float = frames.SLOT_FLOAT.pack_into
_pack_int = frames.SLOT_INT.pack_into
_time_ns = time.time_ns


def log(name: str, value: Value, /, **labels: Any) -> Value:  # noqa: C901  the hot path is one function
    """Record a value under a name in the current context, and return it.

    Stored exactly: float, int of any size, bool, str, bytes, None, lists and dicts of these, and scalars of NumPy or
    PyTorch. Labels make a compound metric: ``log("norm", g, layer=3)``. Starts a run when none is open. Once it has
    returned, the record survives SIGKILL of the process.

    Never blocks on a disk or a network (see the setting ``on_full`` for full disks). ``UnstorableValue``, ``BadName``
    and ``NameCollision`` say what is wrong with the input; nothing else is lost then. Safe in threads, asyncio tasks
    and forked processes.

    >>> import tracker
    >>> tracker.log("loss", 0.25)
    0.25
    """
    # The order matters: whatever goes wrong falls through to the careful way, which repeats the work from the start.
    scope = current_scope()
    recorder, bound, context, frame, _, _ = scope
    journal = recorder.journal
    kind = type(value)
    try:
        if bound is not journal:
            context = journal.contexts[id(scope)][0]
        key: Any = name
        if labels:
            if frame is not None and not frame.names.isdisjoint(labels):
                raise KeyError
            key = (name, *labels.items())
        if kind is float:
            tag = journal.floats[key]
            position = journal.next_slot()
            if position < journal.limit:
                _pack_float(journal.slots, position, value, _time_ns(), context, tag)
                return value
            journal.turn_away(position)
        elif kind is int:
            tag = journal.ints[key]
            position = journal.next_slot()
            if position < journal.limit:
                try:
                    _pack_int(journal.slots, position, value, _time_ns(), context, tag)
                except struct.error:
                    journal.void(position)
                else:
                    return value
            else:
                journal.turn_away(position)
        elif kind is not str:
            unwrapped = plain(value)
            if type(unwrapped) is float or type(unwrapped) is int:
                log(name, unwrapped, **labels)
                return value
    except (KeyError, TypeError):
        pass
    recorder.record(scope, name, value, labels)
    return value


def log_many(values: Mapping[str, Any], /, **labels: Any) -> Mapping[str, Any]:
    """Record several named values in the current context, with the same labels, and return them.

    A value that cannot be stored raises only after all the others were recorded.
    """
    if not isinstance(values, Mapping):
        recorder = current_scope()[0]
        recorder.refuse(
            UnstorableValue(f"log_many takes a mapping of names to values, not {type(values).__qualname__}")
        )
        return values
    problems: list[InputError] = []
    for name, value in values.items():
        try:
            log(name, value, **labels)
        except InputError as exc:
            problems.append(exc)
    if problems:
        raise problems[0]
    return values
