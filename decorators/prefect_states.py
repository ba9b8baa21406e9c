"""Flows and tasks that fail without an exception: they return a state of Prefect's, or futures that end in one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tracker.decorators.places import Ending


class ReturnedState(Exception):
    """A flow or task ended with a state that is no success, and raised nothing."""


def ending_of(result: Any) -> Ending | None:
    """What the returned states mean for the run: with one that is not completed it has not finished, as in Prefect.

    Waits for returned futures, as Prefect would do next. ``None`` where the result says nothing of the kind.
    """
    states = [state for state in _states(result) if not state.is_completed()]
    if not states:
        return None
    if any(state.is_cancelled() for state in states):
        return Ending(_exception(states[0]), "killed")
    if any(state.is_paused() for state in states):
        return Ending(None, "preempted")
    return Ending(_exception(states[0]), "failed")


def _states(result: Any) -> Iterable[Any]:
    """The states that a result consists of, and nothing where anything else is among it."""
    from prefect.futures import PrefectFuture, resolve_futures_to_states
    from prefect.states import State

    parts = list(result) if isinstance(result, list | tuple | set) else [result]
    if not all(isinstance(part, State | PrefectFuture) for part in parts):
        return []
    return [resolve_futures_to_states(part) for part in parts]


def _exception(state: Any) -> BaseException:
    """The exception that the state holds, else one that says its name and message."""
    held = getattr(state.data, "result", state.data)
    if isinstance(held, BaseException):
        return held
    return ReturnedState(f"{state.name}: {state.message}" if state.message else state.name)
