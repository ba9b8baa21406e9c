"""Where an orchestrator runs the code that stands here, and its own decorated objects. Each engine is one leaf file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import msgspec

from tracker.store.documents import Status

if TYPE_CHECKING:
    from tracker.record.run import Run


class Ending(NamedTuple):
    """How a try ended, as its exception or what it returned tells; without a status, as its failure says."""

    failure: BaseException | None
    status: Status | None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a task, as its engine names it; every try of it is an attempt of one run."""

    engine: str
    launch_key: str  # the same for every try, also on another host
    attempt: str = ""  # tells one try from the next within a process
    name: str | None = None  # of the run
    parent_key: str | None = None  # launch key of the run around it: the flow's of a task
    details: dict[str, Any] = {}  # what `start.json` keeps of it: plain JSON, without secrets
    tags: tuple[str, ...] = ()
    rank: int = 0  # of this process among those of the same try; all but the first write shards
    ranks: int = 1
    is_restart: bool = False  # the engine ended the try before by itself, and started this one
    is_process: bool = False  # nothing but the process tells this place from others, so whatever run is open is its own
    on_begin: Callable[[Run], None] | None = None  # called with the run of this try
    kept: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """Of named arguments those that can be recorded: without the objects that the engine gives to every call."""
    ending: Callable[[Any], Ending | None] | None = None
    """What the engine reads out of a returned value: some fail without raising anything."""
    options: dict[str, Any] = {}  # of `tracker.init`, given with the submission; those of ``@tracked`` come first
    settings: Callable[[], dict[str, Any]] | None = None
    """What the engine's own configuration says of the store. Not asked for where the options or the run around it name
    one; the environment comes first, too.
    """


class Engine(Protocol):
    """What a leaf file has to offer. Neither function imports the engine: both are asked only once it is loaded."""

    def current_place(self) -> Place | None:
        """The task instance in which this code runs; ``None`` outside of one. Takes a few microseconds."""
        ...

    def adapt(self, decorated: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any | None:
        """The engine's own decorated object with its function wrapped; ``None`` for what is not the engine's."""
        ...

    def status_of(self, exc: BaseException) -> Status | None:
        """How a run ended that was left by this exception, where the engine gives it a meaning: a skipped task has
        finished, a cancelled one was killed. ``None`` for any other.
        """
        ...


_ENGINES = {
    "airflow": "tracker.decorators.airflow",
    "prefect": "tracker.decorators.prefect",
    "submitit": "tracker.decorators.submitit",
    "slurm": "tracker.decorators.slurm",
}
"""Package of an engine -> the module that is its `Engine`."""

_VARIABLES = {"slurm": "SLURM_JOB_ID"}
"""Engines without a package -> the environment variable that tells they are at work."""

_loaded: dict[str, Engine] = {}


def current_place() -> Place | None:
    """Where the innermost engine that is at work runs this code; ``None`` in a plain program."""
    for package in _ENGINES:
        if _is_at_work(package):
            place = _engine(package).current_place()
            if place is not None:
                return place
    return None


def adapted(decorated: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any | None:
    """What an engine's decorator made, with its function wrapped; ``None`` for a plain function."""
    for package in _ENGINES:
        if _is_at_work(package):
            found = _engine(package).adapt(decorated, wrap)
            if found is not None:
                return found
    return None


def status_of(exc: BaseException) -> Status | None:
    """What an exception says of the run it ends, where it is no failure."""
    if isinstance(exc, SystemExit) and exc.code in (None, 0):
        return "finished"
    if type(exc).__name__ == "CancelledError":
        return "killed"
    for package in _ENGINES:
        if _is_at_work(package):
            found = _engine(package).status_of(exc)
            if found is not None:
                return found
    return None


def _is_at_work(package: str) -> bool:
    return package in sys.modules or _VARIABLES.get(package, "") in os.environ


def _engine(package: str) -> Engine:
    engine = _loaded.get(package)
    if engine is None:
        engine = _loaded[package] = cast(Engine, import_module(_ENGINES[package]))
    return engine
