"""Hashes of a state: equal for equal states, however they are stored, and without storing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from blake3 import blake3

from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import TENSOR_MARKS, Tree


def hash_parts(parts: Mapping[str, Tree], tensors: Sequence[TensorData]) -> dict[str, str]:
    """The hash of every part: of its tree, with the digests of tensors in their places and sets in one order."""
    return {name: _hash(msgspec.json.encode(_canonical(tree, tensors))) for name, tree in parts.items()}


def hash_whole(hashes: Mapping[str, str]) -> str:
    """The hash of a state, from those of its parts."""
    return _hash(msgspec.json.encode(sorted(hashes.items())))


def _canonical(tree: Tree, tensors: Sequence[TensorData]) -> Any:
    if isinstance(tree, list):
        return [_canonical(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    found: dict[str, Any] = {}
    for key, item in tree.items():
        if key in TENSOR_MARKS and isinstance(item, int):
            found[key] = tensors[item].digest
        elif key in {"$set", "$frozenset"}:
            found[key] = sorted((_canonical(part, tensors) for part in item), key=msgspec.json.encode)
        else:
            found[key] = _canonical(item, tensors)
    return found


def _hash(data: bytes) -> str:
    return blake3(data).hexdigest()
