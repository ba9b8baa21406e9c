"""Calling a function as Airflow calls those of its own operators."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any


def accepted(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], context: Mapping[str, Any]
) -> dict[str, Any]:
    """The keyword arguments, and of the context what the function has parameters for."""
    parameters = inspect.signature(function).parameters
    positional = list(parameters)[: len(args)]
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        wanted = set(context) - set(positional)
    else:
        wanted = set(parameters) & set(context) - set(positional)
    return {name: context[name] for name in wanted} | dict(kwargs)


def result_of(value: Any) -> Any:
    """What a function gave; of a coroutine what it gives at its end."""
    if not inspect.isawaitable(value):
        return value
    import asyncio

    return asyncio.run(_awaited(value))


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value
