"""Hindsight: ask past runs new questions.

``log``, ``arg``, ``loop``, ``step`` and ``checkpointing`` record; ``dataframe``, ``runs``, ``reader`` and
``load_checkpoint`` read; ``replay`` asks; ``sync`` copies; ``compact`` keeps reading quick; ``tag``, ``pin``,
``remove`` and ``gc`` keep order. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracker.api import (
        arg as arg,
    )
    from tracker.api import (
        checkpointing as checkpointing,
    )
    from tracker.api import (
        commit as commit,
    )
    from tracker.api import (
        compact as compact,
    )
    from tracker.api import (
        dataframe as dataframe,
    )
    from tracker.api import (
        finish as finish,
    )
    from tracker.api import (
        gc as gc,
    )
    from tracker.api import (
        init as init,
    )
    from tracker.api import (
        iteration as iteration,
    )
    from tracker.api import (
        load_checkpoint as load_checkpoint,
    )
    from tracker.api import (
        log as log,
    )
    from tracker.api import (
        log_many as log_many,
    )
    from tracker.api import (
        loop as loop,
    )
    from tracker.api import (
        pin as pin,
    )
    from tracker.api import (
        reader as reader,
    )
    from tracker.api import (
        remove as remove,
    )
    from tracker.api import (
        run as run,
    )
    from tracker.api import (
        runs as runs,
    )
    from tracker.api import (
        step as step,
    )
    from tracker.api import (
        sync as sync,
    )
    from tracker.api import (
        tag as tag,
    )
    from tracker.api import (
        unpin as unpin,
    )
    from tracker.replay.call import CallableRoom

    replay: CallableRoom

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "arg",
    "checkpointing",
    "commit",
    "compact",
    "dataframe",
    "finish",
    "gc",
    "init",
    "iteration",
    "load_checkpoint",
    "log",
    "log_many",
    "loop",
    "pin",
    "reader",
    "remove",
    "replay",
    "run",
    "runs",
    "step",
    "sync",
    "tag",
    "unpin",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tracker' has no attribute {name!r}")
    if name == "replay":  # a room that can be called
        return import_module("tracker.replay")
    from tracker import api

    value = globals()[name] = getattr(api, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
