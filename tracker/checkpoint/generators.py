"""The random generators that a process has anyway: Python's, NumPy's old one and PyTorch's, on every device."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Any

from tracker.checkpoint.capturing import Capturing
from tracker.checkpoint.restoring import Restoring
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.torch_tensors import loaded_torch
from tracker.checkpoint.tree import Tree


def capture_generators(tensors: list[TensorData]) -> dict[str, Tree]:
    """The trees of all generators by kind: ``random``, ``numpy``, ``torch``; takes some ten microseconds each.

    Libraries that the program has not loaded are left alone, as are accelerators that it has not begun to use.
    """
    capturing = Capturing(tensors)
    return {kind: capturing.take(state, kind) for kind, state in _states().items()}


def _states() -> dict[str, Any]:
    _, words, gauss = random.getstate()
    states: dict[str, Any] = {"random": {"words": list(words), "gauss": gauss}}
    if numpy_random := sys.modules.get("numpy.random"):
        states["numpy"] = numpy_random.get_state(legacy=False)
    if torch := loaded_torch():
        states["torch"] = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            found = enumerate(torch.cuda.get_rng_state_all())
            states["torch"] |= {f"cuda:{number}": state for number, state in found}
        if torch.backends.mps.is_available():
            states["torch"]["mps"] = torch.mps.get_rng_state()
    return states


def restore_generators(tree: dict[str, Tree], tensors: Sequence[TensorData]) -> None:
    """Set every generator that was captured; those of devices that this machine lacks are left out."""
    restoring = Restoring(tensors)
    for kind, state in tree.items():
        value = restoring.give(state, name=kind)
        if kind == "random":
            random.setstate((3, tuple(value["words"]), value["gauss"]))
        elif kind == "numpy":
            import numpy as np

            np.random.set_state(value)
        elif kind == "torch":
            _set_torch(value)


def _set_torch(states: dict[str, Any]) -> None:
    import torch

    for device, state in states.items():
        kind, _, number = device.partition(":")
        if kind == "cpu":
            torch.set_rng_state(state)
        elif kind == "cuda" and torch.cuda.is_available() and int(number) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(number))
        elif kind == "mps" and torch.backends.mps.is_available():
            torch.mps.set_rng_state(state)
