"""Registration of the objects whose state belongs to a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from tracker.errors import BadName, NameCollision

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_registered: ContextVar[Mapping[str, Any]] = ContextVar("hindsight_registered", default=_NOTHING)


@contextmanager
def checkpointing(**objects: Any) -> Iterator[Mapping[str, Any]]:
    """Register objects as state of the run for the duration of the block, under the names given.

    ``with checkpointing(model=net, optimizer=opt): …`` may be nested; inner blocks add to outer ones. Nothing is copied
    or called on the objects here. ``BadName`` without any object, ``NameCollision`` where an outer block has the name
    for another object.

    >>> import tracker
    >>> with tracker.checkpointing(weights=[1.0, 2.0]) as state:
    ...     sorted(state)
    ['weights']
    """
    if not objects:
        raise BadName("checkpointing() needs objects by name: checkpointing(model=net, optimizer=opt)")
    outer = _registered.get()
    for name, value in objects.items():
        if name in outer and outer[name] is not value:
            raise NameCollision(
                f"{name!r} is registered by an enclosing checkpointing() for another object: choose another name"
            )
    token = _registered.set(MappingProxyType({**outer, **objects}))
    try:
        yield _registered.get()
    finally:
        _registered.reset(token)


def registered() -> Mapping[str, Any]:
    """The objects registered where this is called, by name, outermost first; empty outside of ``checkpointing``."""
    return _registered.get()
