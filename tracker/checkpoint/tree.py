"""The trees that states are written as: JSON with marked objects where JSON has no form of its own.

A marked object is a dict with a key that begins with ``$``; a plain dict with such a key becomes ``{"$dict": …}``.
Containers are numbered in the order of the tree, so ``{"$ref": n}`` says "that one again" and cycles have a form.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

Tree = Any
"""None, bool, a 64-bit int, a finite float, a text without surrogates, a list of trees or a dict of them."""

MAX_DEPTH = 150
TENSOR_MARKS = {"$tensor", "$pickle", "$floats", "$ints", "$bytes", "$random"}  # a number below them is a tensor's


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING


def mark(tree: Tree) -> str | None:
    """The mark of a node, ``"$tuple"`` for example; ``None`` for what JSON itself holds."""
    if isinstance(tree, dict):
        return next((key for key in tree if key.startswith("$")), None)
    return None


def tensor_places(tree: Tree, name: str = "") -> Iterator[tuple[str, int]]:
    """Where each tensor stands in a tree, as a path, and its number."""
    for path, node in _walk(tree, name):
        for key in TENSOR_MARKS & node.keys():
            if isinstance(number := node[key], int):
                yield path, number


def pickled_paths(tree: Tree, name: str = "") -> list[str]:
    """Where pickle stands in a tree: ``model._loss`` and so on; what ``Manifest.pickled`` lists."""
    return [path for path, node in _walk(tree, name) if "$pickle" in node]


def _walk(tree: Tree, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(tree, list):
        for number, item in enumerate(tree):
            yield from _walk(item, f"{path}[{number}]")
    elif isinstance(tree, dict):
        yield path, tree
        if "$object" in tree and isinstance(tree.get("state"), list):
            for key, item in tree["state"]:
                yield from _walk(item, f"{path}.{key}")
            return
        for key, item in tree.items():
            yield from _walk(item, path if key.startswith("$") or key == "state" else f"{path}.{key}")
