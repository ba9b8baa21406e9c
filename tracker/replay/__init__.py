"""Asking past runs new questions."""

from tracker.replay.propagation import Problem, Propagation, propagate

__all__ = ["Problem", "Propagation", "propagate"]
