"""Calls the function of a past run again: ``python -m tracker.replay.calling FILE MODULE:NAME`` in its workspace."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from tracker.checkpoint.invocations import load_arguments, read_invocation, set_generators, shown, spread
from tracker.errors import InputError
from tracker.record.callables import find_callable
from tracker.record.lifecycle import run
from tracker.record.log import log
from tracker.record.replaying import Order, order
from tracker.store.open import open_store


def main() -> None:
    """Import the file, find the function in it, and call it as it was called."""
    found = order()
    if found is None or len(sys.argv) != 3:
        raise InputError("this module is started by replays, with the file and the name of a function")
    file, (module_name, _, name) = Path(sys.argv[1]).resolve(), sys.argv[2].partition(":")
    sys.argv = [str(file)]
    function = find_callable(_import(file, module_name), name)
    args, kwargs = _arguments(function, found)
    if getattr(function, "__hindsight_tracking__", None) is not None:
        _call(function, args, kwargs)
        return
    with run():
        result = _call(function, args, kwargs)  # of a function that was tracked from outside, as submitit's are
        if result is not None:
            log("returned", shown(result))


def _import(file: Path, module_name: str) -> Any:
    """The module of a file under the name that it had, or one of its own where that cannot be imported."""
    tail = Path(*module_name.split("."))
    for suffix in (tail.with_suffix(".py"), tail / "__init__.py"):
        top = file.parents[len(suffix.parts) - 1] if len(file.parents) >= len(suffix.parts) else None
        if top is not None and top / suffix == file:
            sys.path.insert(0, str(top))
            return importlib.import_module(module_name)
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location("__hindsight_main__", file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file.name} cannot be imported as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    if module_name == "__main__":
        sys.modules["__main__"] = module  # pickled arguments name their classes so
    spec.loader.exec_module(module)
    return module


def _arguments(function: Callable[..., Any], found: Order) -> tuple[list[Any], dict[str, Any]]:
    store = open_store(found.store, storage_options=found.storage_options, create=False)
    invocation = read_invocation(store, found.run, found.attempt)
    named = load_arguments(store, invocation, trust=True)  # of a program that is executed again anyway
    named |= {name: value for name, value in found.overrides.items() if name in named or name in invocation.missing}
    args, kwargs = spread(inspect.signature(function), named)
    set_generators(store, invocation)
    return args, kwargs


def _call(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """To its end: a coroutine is awaited, a generator asked for everything. What it returns."""
    result = function(*args, **kwargs)
    if inspect.isgenerator(result):
        return _emptied(result)
    if inspect.iscoroutine(result) or inspect.isasyncgen(result):
        import asyncio

        return asyncio.run(_exhaust(result) if inspect.isasyncgen(result) else result)
    return result


def _emptied(items: Generator[Any, Any, Any]) -> Any:
    while True:
        try:
            next(items)
        except StopIteration as stop:
            return stop.value


async def _exhaust(items: Any) -> None:
    async for _ in items:
        pass


if __name__ == "__main__":
    main()
