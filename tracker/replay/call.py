"""``tracker.replay`` is a room and a verb: the package can be called."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracker.replay.asking import replay
    from tracker.replay.propagation import Problem, Propagation, propagate


class CallableRoom(ModuleType):
    """The package ``tracker.replay``, which ``tracker.replay("grad_norm")`` calls."""

    if TYPE_CHECKING:
        __call__ = staticmethod(replay)
        Problem = Problem
        Propagation = Propagation
        propagate = staticmethod(propagate)
    else:

        def __call__(self, *names: str, **question: Any) -> Any:
            """See ``tracker.replay.asking.replay``."""
            from tracker.replay.asking import replay

            return replay(*names, **question)


def make_callable(name: str) -> None:
    """Let a call of the module be a call of ``replay``; Python allows it for modules by their class."""
    sys.modules[name].__class__ = CallableRoom
