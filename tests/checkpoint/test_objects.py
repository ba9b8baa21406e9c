"""Registered objects continue exactly after their state was put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Perceptron, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from tracker.checkpoint.capturing import Capturing
from tracker.checkpoint.objects import capture_object, give_object, restore_object, take_object
from tracker.checkpoint.restoring import Restoring
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import pickled_paths
from tracker.errors import Uncapturable, Unfitting, Untrusted


def saved(obj: Any) -> tuple[Any, list[TensorData]]:
    """Tree and tensors of an object, the tree read back from JSON."""
    tensors: list[TensorData] = []
    tree = capture_object(obj, tensors)
    return msgspec.json.decode(msgspec.json.encode(tree)), tensors


class Counter:
    """An ordinary class of a user."""

    def __init__(self) -> None:
        self.count = 0
        self.history: list[float] = []
        self.itself = self


class Slotted:
    __slots__ = ("count", "later")

    def __init__(self) -> None:
        self.count = 0


@dataclass(frozen=True, slots=True)
class Frozen:
    rate: float = 0.1
    sizes: list[int] = field(default_factory=list)


class OwnState:
    """One that says itself what its state is."""

    def __init__(self) -> None:
        self.value, self.handle = 0, open

    def __getstate__(self) -> Any:
        return {"value": self.value}

    def __setstate__(self, state: Any) -> None:
        self.value = state["value"]


class Duck:
    def __init__(self) -> None:
        self.best = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


@pytest.mark.parametrize(
    ("make", "change", "show"),
    [
        (Counter, lambda it: it.history.append(0.5), lambda it: (it.count, it.history, it.itself is it)),
        (Slotted, lambda it: setattr(it, "later", 2), lambda it: (it.count, getattr(it, "later", None))),
        (Frozen, lambda it: it.sizes.append(3), lambda it: (it.rate, it.sizes)),
        (OwnState, lambda it: setattr(it, "value", 5), lambda it: it.value),
        (Duck, lambda it: setattr(it, "best", 0.7), lambda it: it.best),
        (lambda: [1, {"a": np.zeros(2)}], lambda it: it[1]["a"].fill(2), lambda it: (it[0], it[1]["a"].tolist())),
        (lambda: np.zeros(3), lambda it: it.fill(1), lambda it: it.tolist()),
        (lambda: np.random.default_rng(1), lambda it: it.random(), lambda it: it.bit_generator.state),
    ],
    ids=["plain", "slots", "frozen", "getstate", "state_dict", "containers", "array", "generator"],
)
def test_objects_of_every_kind(
    make: Callable[[], Any], change: Callable[[Any], Any], show: Callable[[Any], Any]
) -> None:
    """The state goes into the same object, whatever happened to it since, and without trust."""
    obj = make()
    change(obj)
    before = msgspec.json.encode(show(obj))
    tree, tensors = saved(obj)
    fresh = make()

    restore_object(fresh, tree, tensors)
    change(obj)
    restore_object(obj, tree, tensors)

    assert msgspec.json.encode(show(fresh)) == msgspec.json.encode(show(obj)) == before


def test_a_class_that_is_made_anew_with_arguments_is_pickled() -> None:
    """Its ``__setstate__`` alone would not know them; a data frame holds such a part."""
    frame, other = pd.DataFrame({"a": [1, 2], "b": ["x", None]}), pd.DataFrame()
    tree, tensors = saved(frame)

    restore_object(other, tree, tensors, trust=True)

    assert pickled_paths(tree)
    assert other.equals(frame)


def test_attributes_that_appeared_later_go() -> None:
    """As if they had never been set."""
    obj = Counter()
    tree, tensors = saved(obj)
    obj.extra = 1  # type: ignore[attr-defined]

    restore_object(obj, tree, tensors)

    assert not hasattr(obj, "extra")


def test_objects_that_hold_each_other() -> None:
    """An object within another is named there, and its state is kept once."""
    inner, outer, tensors = np.ones(2), Counter(), list[TensorData]()
    outer.history = inner  # type: ignore[assignment]
    both = {"inner": inner, "outer": outer}
    capturing = Capturing(tensors, registered=both)
    trees = {name: take_object(capturing, obj, name) for name, obj in both.items()}
    inner[:], outer.history = 0, []
    restoring = Restoring(tensors, registered=both)

    for name, tree in trees.items():
        give_object(restoring, both[name], tree, name)

    assert outer.history is inner  # type: ignore[comparison-overlap]
    assert inner.tolist() == [1, 1]
    assert len(tensors) == 1


def test_an_object_of_another_form_is_refused() -> None:
    """The state of three numbers does not go into an array of two."""
    tree, tensors = saved(np.zeros(3))

    with pytest.raises(Unfitting, match="ndarray now"):
        restore_object(np.zeros(2), tree, tensors)


def test_a_state_that_cannot_be_given_out_is_named() -> None:
    """Its error never reaches the program as it is."""

    class Broken(Duck):
        def state_dict(self) -> dict[str, Any]:
            raise OSError("no disk")

    with pytest.raises(Uncapturable, match="no disk"):
        saved(Broken())


class OddOne:
    """One that only pickle can hold."""

    def __reduce__(self) -> Any:
        return OddOne, ()


DIGITS = np.random.default_rng(0).normal(size=(120, 8))
LABELS = (DIGITS[:, 0] + DIGITS[:, 1] ** 2 > 0.5).astype(int)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGDClassifier(random_state=1, average=True),
        lambda: Perceptron(random_state=0),
        lambda: SGDClassifier(random_state=np.random.RandomState(2), loss="log_loss"),
        lambda: MLPClassifier((5,), random_state=1, solver="adam"),
        lambda: MLPClassifier((5,), random_state=np.random.RandomState(1), solver="sgd", momentum=0.9),
    ],
)
@pytest.mark.parametrize("is_fitted", [True, False])
def test_estimators_resume_exactly(make: Callable[[], Any], is_fitted: bool) -> None:
    """Fitted further after a restore they equal one that was never interrupted, to the last bit."""
    estimator = make()
    for start in range(0, 60, 20):
        estimator.partial_fit(DIGITS[start : start + 20], LABELS[start : start + 20], classes=[0, 1])
    tree, tensors = saved(estimator)
    other = make()
    if is_fitted:
        other.partial_fit(DIGITS[:7], LABELS[:7], classes=[0, 1])

    restore_object(other, tree, tensors)
    for one in (estimator, other):
        for start in range(60, 120, 20):
            one.partial_fit(DIGITS[start : start + 20], LABELS[start : start + 20])

    assert parameters(other) == parameters(estimator)


def parameters(estimator: Any) -> list[bytes]:
    """Everything that was fitted, as bytes."""
    found = estimator.coefs_ + estimator.intercepts_ if hasattr(estimator, "coefs_") else [estimator.coef_]
    return [array.tobytes() for array in found]


def test_simple_estimators_need_no_pickle() -> None:
    """A scaler is numbers and arrays."""
    scaler = StandardScaler().partial_fit(DIGITS)
    tree, tensors = saved(scaler)
    other = StandardScaler()

    restore_object(other, tree, tensors)

    assert not pickled_paths(tree)
    assert other.transform(DIGITS).tobytes() == scaler.transform(DIGITS).tobytes()


def test_odd_attributes_are_pickled_alone() -> None:
    """And need trust; the arrays beside them do not."""
    scaler = StandardScaler().fit(DIGITS)
    scaler.odd = OddOne()
    tree, tensors = saved(scaler)

    assert pickled_paths(tree, "scaler") == ["scaler.odd"]
    with pytest.raises(Untrusted, match="pickle"):
        restore_object(StandardScaler(), tree, tensors)
