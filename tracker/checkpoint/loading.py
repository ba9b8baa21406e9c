"""Whole checkpoints as plain values, without any user code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tracker.checkpoint.manifest import Manifest, Position, list_checkpoints, read_manifest
from tracker.checkpoint.reading import StoredTensors, TensorReader
from tracker.checkpoint.restoring import Restoring
from tracker.errors import NotFound
from tracker.store.base import Store


class Unloaded:
    """Stands for a pickled part that was not loaded because trust was not given."""

    def __repr__(self) -> str:
        return "<pickled: load with trust=True>"


class Checkpoint(Mapping[str, Any]):
    """The states of registered objects by name, as plain dicts and arrays, read when they are asked for.

    ``manifest`` says where and when it was taken. Not for several threads at once.
    """

    def __init__(self, store: Store, manifest: Manifest, *, trust: bool = False) -> None:
        self.manifest = manifest
        tensors = StoredTensors(TensorReader(store), manifest.tensors)
        self._restoring = Restoring(tensors, trust=trust, registered=_Names(), stand_in=_stand_in)
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        for key, tree in self.manifest.objects.items():
            # Those before it come first: a later one may share parts with them.
            if key not in self._read:
                self._read[key] = self._restoring.give(tree, name=f"object.{key}")
            if key == name:
                break
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.manifest.objects)

    def __len__(self) -> int:
        return len(self.manifest.objects)

    def __repr__(self) -> str:
        return f"<checkpoint {self.manifest.number} of run {self.manifest.run}: {', '.join(self)}>"


class _Names(dict[str, Any]):
    """An object within another stays a name."""

    def __missing__(self, name: str) -> str:
        return f"<{name}>"


def _stand_in(kind: str, name: str, state: Any) -> Any:
    """The plain value in place of an object: its state, in the form that its own methods give out."""
    if kind == "pickle":
        return Unloaded()
    if kind in {"module", "state_dict"}:
        return state["state_dict"]
    if kind == "optimizer":
        return _optimizer(state)
    if kind == "getstate":
        return state["state"]
    return tuple(state) if kind == "namedtuple" else name if state is None else state


def _optimizer(state: dict[str, Any]) -> dict[str, Any]:
    """As ``Optimizer.state_dict`` gives it out: parameters are numbers, in the order of the groups."""
    numbers = iter(range(sum(state["sizes"])))
    groups = [
        {**group, "params": [next(numbers) for _ in range(size)]}
        for group, size in zip(state["groups"], state["sizes"], strict=True)
    ]
    return {"state": {n: item for n, item in enumerate(state["state"]) if item is not None}, "param_groups": groups}


At = str | int | Position | Mapping[str, Any] | None


def load(store: Store, run: str, at: At = None, *, trust: bool = False) -> Checkpoint:
    """One checkpoint of a run (its full id), without running code of anybody.

    ``at``: the key of a manifest, a position, loops with their indices (the last checkpoint there), a number in the
    order of time (negative from the end), or ``None`` and ``"latest"`` for the last one. ``NotFound`` says what there
    is. ``trust`` also loads pickled parts.
    """
    return Checkpoint(store, find_manifest(store, run, at), trust=trust)


def find_manifest(store: Store, run: str, at: At = None) -> Manifest:
    """The manifest that ``at`` stands for, as for `load`."""
    found = list_checkpoints(store, run)
    if not found:
        raise NotFound(f"run {run} has no checkpoint in {store.url}")
    if isinstance(at, Position | Mapping):
        return _manifest_at(store, run, found, at)
    if at is None or at == "latest":
        at = -1
    if isinstance(at, int) and -len(found) <= at < len(found):
        return read_manifest(store, found[at])
    if at in found:
        return read_manifest(store, str(at))
    raise NotFound(f"run {run} has no checkpoint {at!r}: it has {len(found)}, numbered 0 to {len(found) - 1}")


def _manifest_at(store: Store, run: str, found: list[str], at: Position | Mapping[str, Any]) -> Manifest:
    """The last checkpoint at this position, or in these iterations."""
    places: dict[str, None] = {}
    for key in reversed(found):
        manifest = read_manifest(store, key)
        position = manifest.position
        place = {**dict(position.around), position.loop: position.iteration}
        if position == at if isinstance(at, Position) else place == {**place, **at}:
            return manifest
        places[", ".join(f"{name}={value}" for name, value in place.items())] = None
    there = list(places)
    shown = " and ".join(dict.fromkeys((there[-1], there[0])))
    raise NotFound(f"run {run} has no checkpoint at {at}: it has {len(found)}, the first and last at {shown}")
