"""Ask past runs new questions: ``tracker.replay("grad_norm")``.

The package can be called; its arguments are those of ``tracker.replay.asking.replay``. ``propagate`` puts log
statements into older versions of the code, and needs no store.
"""

from tracker.replay.call import make_callable
from tracker.replay.propagation import Problem, Propagation, propagate

__all__ = ["Problem", "Propagation", "propagate"]

make_callable(__name__)
