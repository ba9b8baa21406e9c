"""Asking past runs new questions."""

from tracker.replay.call import make_callable
from tracker.replay.propagation import Problem, Propagation, propagate

__all__ = ["Problem", "Propagation", "propagate"]

make_callable(__name__)
