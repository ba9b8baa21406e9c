"""The generators of the process continue where they were."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest

from tracker.checkpoint.generators import capture_generators, restore_generators
from tracker.checkpoint.tensors import TensorData


def test_python_and_numpy_continue() -> None:
    """Also with the normal number that each keeps for its next call."""
    random.gauss(0, 1)
    np.random.normal()
    tensors: list[TensorData] = []
    tree = msgspec.json.decode(msgspec.json.encode(capture_generators(tensors)))
    expected = [random.gauss(0, 1), random.random(), np.random.normal(), np.random.rand()]

    restore_generators(tree, tensors)

    assert [random.gauss(0, 1), random.random(), np.random.normal(), np.random.rand()] == expected


def test_capturing_does_not_draw() -> None:
    """The program goes on as if nobody had looked."""
    random.seed(1)
    expected = random.random()
    random.seed(1)

    capture_generators([])

    assert random.random() == expected


@pytest.mark.torch
def test_torch_continues() -> None:
    """Its generator on the host."""
    torch: Any = pytest.importorskip("torch")
    torch.manual_seed(3)
    tensors: list[TensorData] = []
    tree = capture_generators(tensors)
    expected = torch.randn(4).tolist()

    restore_generators(tree, tensors)

    assert torch.randn(4).tolist() == expected
