"""Options for a tracked function that another decorator stands on: they wait in the context for its run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_handed: ContextVar[dict[int, dict[str, Any]] | None] = ContextVar("hindsight_handed", default=None)


def merged(inner: dict[str, Any], outer: dict[str, Any]) -> dict[str, Any]:
    """The options of two ``@tracked`` on one function, or of a submission and ``@tracked``: the outer ones win.

    Where they name a store, the inner's ``storage_options`` are left out: credentials are meant for their own store.
    """
    given = {name: value for name, value in outer.items() if value is not None}
    kept = {name: value for name, value in inner.items() if name != "storage_options" or "store" not in given}
    return {**kept, **given}


def handing(function: Callable[..., Any], tracked: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """What another decorator made of a tracked function, called so that runs of that one have these options.

    A generator does its work between the calls of its caller, so it stays as it is.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        with _handing(tracked, options):
            return function(*args, **kwargs)

    async def call_later(*args: Any, **kwargs: Any) -> Any:
        with _handing(tracked, options):
            return await function(*args, **kwargs)

    return functools.wraps(function)(call_later if inspect.iscoroutinefunction(function) else call)


def handed_to(tracked: Callable[..., Any]) -> dict[str, Any] | None:
    """The options that wait for a run of this function, all of them; ``None`` where it has its own alone."""
    return (_handed.get() or {}).get(id(tracked))


@contextmanager
def _handing(tracked: Callable[..., Any], options: dict[str, Any]) -> Iterator[None]:
    token = _handed.set({id(tracked): options} | (_handed.get() or {}))  # the outermost know of the others
    try:
        yield
    finally:
        _handed.reset(token)
