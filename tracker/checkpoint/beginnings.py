"""Which objects the variables held when the checkpointed loop began, so that states go back into those that hold them.

Code outside of the loop may have given an object other names, which no checkpoint knows. An object that the loop
changed must be changed back where it lies, and one that the loop replaced must stay as it is.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tracker.checkpoint.tree import MISSING
from tracker.checkpoint.variables import Variables

_CONTAINERS = (list, dict, set, bytearray, deque)
Began = Mapping[str, Mapping[str, Any]]  # function -> name -> object, as the loop began


class Beginning:
    """Remembers mutable values by identity; arrays and tensors weakly, so that it keeps no memory of theirs."""

    def __init__(self, variables: Iterable[Variables] = ()) -> None:
        self._known: dict[str, dict[str, Callable[[], Any]]] = {}
        for each in variables:
            self._known[each.function] = {
                name: _reference(value) for name, value in each.values.items() if is_shared(value)
            }

    def kept(self, variables: Variables) -> dict[str, str] | None:
        """By name, the name that its object had then; ``None`` for a function that did not run then."""
        known = self._known.get(variables.function)
        if known is None:
            return None
        names = {id(value): name for name, refer in known.items() if (value := refer()) is not None}
        return {name: names[id(value)] for name, value in variables.values.items() if id(value) in names}


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
