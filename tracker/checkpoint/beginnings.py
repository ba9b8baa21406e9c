"""Which objects the variables held when a loop or a block began, so that states go back into those that hold them.

Code outside may have given an object other names, which no checkpoint knows, or hold it in the middle of a call.
An object that was changed must be changed back where it lies, and one that was replaced must stay as it is.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from tracker.checkpoint.tree import MISSING
from tracker.checkpoint.variables import GLOBALS, Variables

_CONTAINERS = (list, dict, set, bytearray, deque)
_GLOBALS = -1
Began = Mapping[int, Mapping[str, Any]]  # number of the frame (-1: globals) -> name -> object


class Beginning:
    """Remembers mutable values by identity; arrays and tensors weakly, so that it keeps no memory of theirs."""

    def __init__(self, variables: Sequence[Variables] = ()) -> None:
        self._known: dict[int, dict[str, Callable[[], Any]]] = {}
        for number, each in numbered(variables):
            self._known[number] = {name: _reference(value) for name, value in each.values.items() if is_shared(value)}

    def kept(self, number: int, variables: Variables) -> dict[str, str] | None:
        """By name, the name that its object had then; ``None`` for a function that did not run then."""
        known = self._known.get(number)
        if known is None:
            return None
        names = {id(value): name for name, refer in known.items() if (value := refer()) is not None}
        return {name: names[id(value)] for name, value in variables.values.items() if id(value) in names}


def numbered(variables: Sequence[Variables]) -> Iterator[tuple[int, Variables]]:
    """Frames by their number, from that of the checkpointed loop on; globals are -1."""
    return ((_GLOBALS if each.function == GLOBALS else number, each) for number, each in enumerate(variables))


def variables_of(frames: Sequence[FrameType]) -> Began:
    """All variables of running functions, and the global ones, as restoring wants them."""
    found = {number: dict(frame.f_locals) for number, frame in enumerate(frames)}
    if frames:
        found[_GLOBALS] = dict(frames[0].f_globals)
    return found


def is_shared(value: Any) -> bool:
    """Whether a value may change in place, and is written in place: a container or an array."""
    return isinstance(value, _CONTAINERS) or hasattr(value, "__array__")


def existing(kept: Mapping[str, str] | None, name: str, began: Mapping[str, Any] | None, now: Any) -> Any:
    """What the state of a variable is put into: the object that it lay in, as far as that is known.

    ``now`` is the value of the variable, ``MISSING`` where it has none.
    """
    if kept is None or began is None:
        return now
    if name in kept:
        return began.get(kept[name], MISSING)
    return MISSING if is_shared(now) else now


def _reference(value: Any) -> Callable[[], Any]:
    if isinstance(value, _CONTAINERS):
        return lambda: value
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value
