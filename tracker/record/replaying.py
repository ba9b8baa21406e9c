"""What a process that replays a run was told: ``HINDSIGHT_REPLAY`` names a file with an `Order`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import msgspec

ORDER_VARIABLE = "HINDSIGHT_REPLAY"


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to run a past run again, or a part of it.

    The process records into ``scratch`` under the id of the run, whatever store its code asks for. In the checkpointed
    loop it begins at ``checkpoint``, executes the iterations ``first`` to ``last`` (inclusive; ``None``: to the end)
    and ends after that. In these, blocks of the loops ``run_blocks`` are executed (``None``: all); others are skipped
    wherever the store has the checkpoint of their exit.
    """

    run: str
    attempt: str
    store: str  # URL of the store with the checkpoints
    storage_options: dict[str, Any] = {}
    scratch: str  # folder of a local store for what the process records
    ordinal: int = 0  # how many runs the process had started before this one
    arguments: dict[str, Any] = {}
    overrides: dict[str, Any] = {}  # those of them that are not as recorded
    manifests: tuple[str, ...] = ()  # keys of the run's checkpoints that may be used
    checkpoint: str | None = None  # the one of them to begin at
    loop: str | None = None  # the checkpointed loop that first and last speak of; other loops are executed whole
    first: int = 0
    last: int | None = None
    run_blocks: tuple[str, ...] | None = None
    report: str = ""  # file that the process appends to: one JSON line for each block that ran or was skipped


@cache
def order() -> Order | None:
    """The order of this process; ``None`` in an ordinary one."""
    path = os.environ.get(ORDER_VARIABLE)
    return msgspec.json.decode(Path(path).read_bytes(), type=Order) if path else None


def end_process() -> NoReturn:
    """End a process that replays, in the middle of its program: nothing that comes after was asked for."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(0)


def redirected(overrides: Mapping[str, Any], ordinal: int) -> tuple[dict[str, Any], str | None]:
    """The settings for the n-th run of this process, and which run it is where it replays one.

    Whatever store the program asks for, a replay records into its scratch store, and captures nothing else.
    """
    found = order()
    if found is None:
        return dict(overrides), None
    here = {"store": found.scratch, "storage_options": {}, "capture": (), "fsync": "none"}
    return {**overrides, **here}, found.run if ordinal == found.ordinal else None


def replayed_arguments(run: str | None) -> Mapping[str, Any]:
    """The recorded arguments where this run is a replay. Masked ones are not known: the program finds them itself."""
    found = order()
    if found is None or found.run != run:
        return {}
    return {name: value for name, value in found.arguments.items() if value != "***"}
