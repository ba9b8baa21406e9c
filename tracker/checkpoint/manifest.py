"""The manifest of a checkpoint: at which block exit it was taken, and what the state is made of."""

from __future__ import annotations

from typing import Any

import msgspec

from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import UnixSeconds, decode


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The exit of a block: one execution of a loop nested in the checkpointed loop, or one iteration of that itself.

    ``around``: loops and step keys around the checkpointed loop, outermost first, as names with indices or values.
    ``execution`` counts the checkpointed loops that ran before in the same place, ``block`` the nested loops that ran
    before in the same iteration; -1 stands for the end of the iteration. ``block_loop``: name of the nested loop.
    """

    around: tuple[tuple[str, Any], ...] = ()
    execution: int = 0
    loop: str
    iteration: int
    block: int = -1
    block_loop: str | None = None
    consumed: int = 0  # items that the nested loop took from its iterable


class Tensor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An array of a state. ``digest`` is the BLAKE3 hash of dtype, shape and bytes, however they are stored."""

    digest: str
    dtype: str  # as safetensors names it: F32, BF16, U8 …
    shape: tuple[int, ...]
    object: str  # the object that holds it: a safetensors file, or a delta
    name: str = ""  # its name inside the safetensors file
    base: str | None = None  # digest of the tensor that a delta begins with


class FrameState(msgspec.Struct, frozen=True, omit_defaults=True):
    """Plain locals of one function that was running: values by name, as trees of ``tracker.checkpoint.state``."""

    function: str  # qualified name; "<module>" for the script itself
    file: str  # relative to the project's root where it lies below it
    values: dict[str, Any] = {}
    missing: dict[str, str] = {}  # name -> why it could not be captured
    # Containers and arrays that were there when the checkpointed loop or the block began, and their names then.
    kept: dict[str, str] | None = None
    held: dict[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``checkpoints/<attempt>/<number>.json``, published after everything that it names.

    ``objects``: registered objects by name, ``generators``: random generators by kind, both as trees in which
    ``{"$tensor": n}`` stands for ``tensors[n]``. ``frames``: the running functions from that of the checkpointed loop
    down to that of the block. ``state_hash``: BLAKE3 over trees and digests.
    """

    run: str
    attempt: str
    number: int
    position: Position
    created: UnixSeconds
    elapsed_s: float  # run time of the attempt so far
    block_s: float  # how long the block took
    cost_s: float  # what taking this checkpoint cost the training
    size_bytes: int  # of the state
    stored_bytes: int  # that were written for it
    objects: dict[str, Any] = {}
    generators: dict[str, Any] = {}
    frames: tuple[FrameState, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    rests_on: tuple[str, ...] = ()  # further objects that must be there: bases of deltas, and theirs
    idle: tuple[str, ...] = ()  # generators that the program has not used since the loop began
    missing: dict[str, str] = {}  # registered objects that could not be captured, and why
    can_begin: bool = True  # whether a program may begin here; False where an iterator outlives the block
    pickled: tuple[str, ...] = ()  # paths in the trees that only pickle could hold: loaded with trust alone
    state_hash: str = ""
    hashes: dict[str, str] = {}  # "object.model", "generator.torch", "local.loss" … -> its own hash


def list_checkpoints(store: Store, run: str) -> list[str]:
    """Keys of a run's manifests, in the order of attempts and of time."""
    return sorted(info.key for info in store.list(keys.checkpoints_folder(run)) if info.key.endswith(".json"))


def read_manifest(store: Store, key: str) -> Manifest:
    """One manifest; ``KeyNotFound`` or ``DamagedDocument`` name the key."""
    return decode(store.get(key), Manifest, key=key)
