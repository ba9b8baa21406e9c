"""Registered objects: their state as a tree, and back into the very objects that a program holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracker.checkpoint.capturing import Capturing
from tracker.checkpoint.restoring import Restoring
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import Tree
from tracker.errors import Unfitting


def capture_object(obj: Any, tensors: list[TensorData], *, max_bytes: int | None = None) -> Tree:
    """The state of one object as it is now; ``Uncapturable`` names the part that has no form.

    Parts that only pickle can hold are pickled: `tracker.checkpoint.tree.pickled_paths` lists them. For several
    objects that hold each other, give all of them to one `Capturing` and call `take_object`.
    """
    return take_object(Capturing(tensors, allow_pickle=True, max_bytes=max_bytes), obj, "object")


def restore_object(obj: Any, tree: Tree, tensors: Sequence[TensorData], *, trust: bool = False) -> None:
    """Put a state into the object; ``Unfitting`` where it has another form now, ``Untrusted`` for what needs trust."""
    give_object(Restoring(tensors, trust=trust), obj, tree, "object")


def take_object(capturing: Capturing, obj: Any, name: str) -> Tree:
    """The same within a capture of several objects and values."""
    return capturing.take(obj, name, is_object=True)


def give_object(restoring: Restoring, obj: Any, tree: Tree, name: str) -> None:
    """The same within one `Restoring`, in the order in which they were captured."""
    if restoring.give(tree, obj, name) is not obj:
        raise Unfitting(
            f"{name} is {type(obj).__name__} now, of another class, shape or dtype than when it was captured: register "
            "an object of the same form, or start without this checkpoint"
        )
