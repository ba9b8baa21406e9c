"""Decorated functions by where they are defined, so that a replay finds one that no module attribute leads to."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from tracker.errors import InputError
from tracker.record.replaying import order

_wrappers: dict[tuple[str, str], Callable[..., Any]] = {}


def remember(function: Callable[..., Any], wrapper: Callable[..., Any]) -> None:
    """Keep what a function became, in a process that replays; the last of several in one place counts."""
    if order() is not None and hasattr(function, "__code__"):
        _wrappers[_file_of(function), function.__qualname__] = wrapper


def called_name(function: Callable[..., Any]) -> str:
    """The name of a function, of the one inside of a partial, or of the class of another object that can be called."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def find_callable(module: Any, qualified_name: str) -> Callable[..., Any]:
    """The function of this name as it is defined in a loaded module: decorated where we decorated it.

    What other libraries made of it is taken off. ``InputError`` where nothing leads to it.
    """
    file = os.path.realpath(module.__file__)
    if (file, qualified_name) in _wrappers:
        return _wrappers[file, qualified_name]
    found: Any = module
    for name in qualified_name.split("."):
        found = getattr(found, name, None)
    bare: Callable[..., Any] | None = _bare(found)
    if bare is None or not callable(bare):
        raise InputError(
            f"{qualified_name} is not found in {os.path.basename(file)}: a function that is defined inside of another "
            "one must carry @tracked and be made when its file is imported"
        )
    return bare


def _bare(found: Any) -> Any:
    """The function inside of what an orchestrator's decorator made: ``fn`` of Prefect, ``function`` of Airflow."""
    for attribute in ("fn", "function"):
        inner = getattr(found, attribute, None)
        if callable(inner) and not isinstance(found, type(sys)):
            return inner
    return found


def _file_of(function: Callable[..., Any]) -> str:
    return os.path.realpath(function.__code__.co_filename)
