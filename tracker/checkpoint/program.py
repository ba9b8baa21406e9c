"""The state of a running program at the exit of a block: registered objects, random generators, and variables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tracker.checkpoint.beginnings import Began, Beginning, existing, numbered
from tracker.checkpoint.blocks import Spot
from tracker.checkpoint.capturing import Capturing
from tracker.checkpoint.generators import capture_generators, restore_generators
from tracker.checkpoint.manifest import FrameState, Manifest
from tracker.checkpoint.objects import give_object, take_object
from tracker.checkpoint.restoring import Restoring
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import MISSING, Tree
from tracker.checkpoint.variables import (
    GLOBALS,
    Variables,
    read_globals,
    read_variables,
    write_globals,
    write_variables,
)
from tracker.checkpoint.ways import is_reached_anyway
from tracker.errors import DamagedDocument, Uncapturable

_MAX_CHANGED_BYTES = 256 << 20  # one variable that the loop changes
_MAX_PRESUMED_BYTES = 1 << 20  # one that it only reads
_NONE: Began = MappingProxyType({})
_MAX_DEPTH = 4  # of what is looked at for an estimate


@dataclass
class Capture:
    """A consistent copy of a state; nothing in it changes any more."""

    tensors: list[TensorData] = field(default_factory=list)
    objects: dict[str, Tree] = field(default_factory=dict)
    generators: dict[str, Tree] = field(default_factory=dict)
    frames: tuple[FrameState, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)
    can_begin: bool = True

    @property
    def size_bytes(self) -> int:
        return sum(tensor.size_bytes for tensor in self.tensors)

    def parts(self) -> dict[str, Tree]:
        """Every part by its name: ``object.model``, ``generator.torch``, ``local.loss``, ``local.train.count``."""
        found = {f"object.{name}": tree for name, tree in self.objects.items()}
        found |= {f"generator.{name}": tree for name, tree in self.generators.items()}
        for number, frame in enumerate(self.frames):
            found |= {_part(number, frame, name): tree for name, tree in frame.values.items()}
        return found


def capture_state(
    objects: Mapping[str, Any],
    spot: Spot,
    *,
    like: Manifest | None = None,
    beginning: Beginning | None = None,
    entry: Beginning | None = None,
) -> Capture:
    """Copy the state at the exit of the block at ``spot``; what cannot be captured is named in ``missing``.

    ``like``: a checkpoint of the same exit; of the variables, only those that it holds. ``beginning`` and ``entry``:
    what was there when the checkpointed loop and the block began.
    """
    found = Capture()
    capturing = Capturing(found.tensors, allow_pickle=True, registered=objects)
    for name, value in objects.items():
        try:
            found.objects[name] = take_object(capturing, value, f"object.{name}")
        except Exception as exc:  # noqa: BLE001  code of the object; the others are captured all the same
            found.missing[f"object {name!r}"] = f"{type(exc).__name__}: {exc}"
    found.generators = capture_generators(found.tensors)
    states = []
    everything = _variables_at(objects, spot)
    changed = [value for each in everything for value in each.changed()]
    # Looking for arrays takes time where there are long lists, and is only needed for views. What `like` holds is none.
    looks = like is None and any(map(_has_base, changed))
    arrays = list(_arrays_in([*objects.values(), *changed])) if looks else []
    for number, (place, variables) in enumerate(numbered(everything)):
        if like is not None:
            known = like.frames[number].values if number < len(like.frames) else {}
            variables.values = {name: value for name, value in variables.values.items() if name in known}
        kept = beginning.kept(place, variables) if beginning is not None else None
        held = entry.kept(place, variables) if entry is not None else None
        state = FrameState(variables.function, _relative(variables.file), kept=kept, held=held)
        _capture_variables(number, state, variables, capturing, arrays)
        states.append(state)
        found.missing |= {f"variable {name!r}": reason for name, reason in state.missing.items()}
        found.can_begin = found.can_begin and not variables.iterators
    found.frames = tuple(states)
    if not states:
        found.missing["the variables"] = "the two loops do not run in functions that call each other"
    found.can_begin = found.can_begin and not found.missing and is_reached_anyway(spot)
    return found


def begin_at(objects: Mapping[str, Any], spot: Spot) -> Beginning:
    """Remember which objects the variables hold as the loop at ``spot`` begins."""
    return Beginning(_variables_at(objects, spot))


def _variables_at(objects: Mapping[str, Any], spot: Spot) -> list[Variables]:
    """The variables that belong to the state: of the functions from the loop's down to the block's, then globals."""
    frames = spot.frames()
    if frames is None:
        return []
    but = {id(value) for value in objects.values()}
    found = []
    for frame in frames:
        outer_line = spot.outer_line if frame is spot.outer else None
        inner_line = spot.outer_line if spot.inner is None else spot.inner_line if frame is spot.inner else None
        found.append(read_variables(frame, loop_line=outer_line, block_line=inner_line, but=but))
    return [*found, read_globals(spot.outer, but=but)]


def _capture_variables(
    number: int, state: FrameState, variables: Variables, capturing: Capturing, arrays: list[Any]
) -> None:
    for name, value in variables.values.items():
        is_presumed = name in variables.presumed
        try:
            is_registered = name in variables.registered  # only named, since its state stands elsewhere
            if not is_registered and size_of(value) > (_MAX_PRESUMED_BYTES if is_presumed else _MAX_CHANGED_BYTES):
                raise Uncapturable(name, type(value).__name__, "is too large; register it with checkpointing()")
            may_be_view = not (is_registered or is_presumed or name in (state.kept or ()))
            if may_be_view and _is_view(value, arrays):
                raise Uncapturable(name, type(value).__name__, "is a view of another array")
            state.values[name] = capturing.take(value, _part(number, state, name))
        except Uncapturable as exc:
            if not is_presumed:
                state.missing[name] = str(exc)


def _arrays_in(values: list[Any], depth: int = 0) -> Iterator[Any]:
    """The NumPy arrays among objects and variables, and in containers of them."""
    for value in values:
        if hasattr(value, "__array_interface__"):
            yield value
        elif depth < _MAX_DEPTH and isinstance(value, Mapping | list | tuple):
            yield from _arrays_in(list(value.values() if isinstance(value, Mapping) else value), depth + 1)


def _has_base(value: Any) -> bool:
    return hasattr(value, "__array_interface__") and getattr(value, "base", None) is not None


def _is_view(value: Any, arrays: list[Any]) -> bool:
    """Whether a variable shows memory of another array, which a restored copy would not.

    Where both were there as the loop began, the state goes into both, and they stay what they are.
    """
    if not _has_base(value):
        return False
    import numpy as np

    return any(array is not value and np.may_share_memory(value, array) for array in arrays)


def _part(number: int, frame: FrameState, name: str) -> str:
    return f"local.{name}" if number == 0 else f"local.{frame.function}.{name}"


def _relative(file: str) -> str:
    return os.path.relpath(file) if os.path.isabs(file) else file


def restore_state(
    manifest: Manifest,
    tensors: Sequence[TensorData],
    objects: Mapping[str, Any],
    spot: Spot,
    *,
    began: Began = _NONE,
    at_entry: bool = False,
) -> None:
    """Put a state back: objects first, then variables of the functions that run, and the generators last.

    Values are changed in place, so that other references to them see it; ``began`` has those that were there when the
    checkpointed loop began, or the block (``at_entry``), and what has been replaced since then is replaced again. Loads
    pickled parts: only for a program that is executed again anyway. ``DamagedDocument`` when the functions are not
    those of the checkpoint.
    """
    restoring = Restoring(tensors, trust=True, registered=objects)
    for name, tree in manifest.objects.items():
        if name in objects:
            give_object(restoring, objects[name], tree, f"object.{name}")
    frames = spot.frames() or []

    def restored(number: int, state: FrameState, known: Mapping[str, Any]) -> dict[str, Any]:
        kept, there = state.held if at_entry else state.kept, began.get(-1 if state.function == GLOBALS else number)
        return {
            name: restoring.give(
                tree, existing(kept, name, there, known.get(name, MISSING)), _part(number, state, name)
            )
            for name, tree in state.values.items()
        }

    for number, state in enumerate(manifest.frames):
        if state.function == GLOBALS:
            known = spot.outer.f_globals
            write_globals(spot.outer, restored(number, state, known))
        elif number == 0 or spot.inner is not None:  # the iteration begins: the functions of its block do not run yet
            if number >= len(frames) or frames[number].f_code.co_name != state.function.rpartition(".")[2]:
                raise DamagedDocument(f"the checkpoint was taken in {state.function}, which does not run here")
            known = dict(frames[number].f_locals)
            write_variables(frames[number], restored(number, state, known))
    restore_generators(manifest.generators, tensors)


def size_of(value: Any, depth: int = 0) -> int:
    """About how many bytes a state takes, from the arrays that can be seen in it; copies nothing."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    if depth >= _MAX_DEPTH:
        return 0
    if isinstance(value, Mapping):
        return sum(size_of(item, depth + 1) for item in value.values())
    if isinstance(value, list | tuple):
        return 8 * len(value) + sum(size_of(item, depth + 1) for item in value[:1000])
    if callable(getattr(value, "state_dict", None)):
        return size_of(value.state_dict(), depth + 1)
    return size_of(getattr(value, "__dict__", None) or (), depth + 1) if depth < 2 else 0
