"""What the process of a replay reports of its blocks: which it ran, and whether their state was the recorded one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from tracker.checkpoint.manifest import Manifest
from tracker.errors import Corrupt, NotFound
from tracker.store.base import Store
from tracker.store.documents import decode

GENERATOR = "generator."  # how the parts of a state begin that are random generators


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report."""

    iteration: int
    block: int = -1
    loop: str | None = None
    did: Literal["ran", "skipped", "restored"]
    hash_equal: bool | None = None
    differing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """All lines of a report so far."""

    blocks: tuple[Block, ...] = ()

    @property
    def compared(self) -> int:
        """How many blocks were executed and ended in a state whose hash is known; loading a state proves nothing."""
        return sum(block.did == "ran" and block.hash_equal is not None for block in self.blocks)

    @cached_property
    def differing(self) -> Block | None:
        """The first block that ended in another state than it had."""
        return next((block for block in self.blocks if block.hash_equal is False), None)

    @cached_property
    def not_run(self) -> frozenset[int]:
        """The iterations that were themselves left out."""
        return frozenset(block.iteration for block in self.blocks if block.block < 0 and block.did != "ran")

    @cached_property
    def mixed(self) -> frozenset[tuple[int, str]]:
        """Iterations and names of nested loops of which some executions ran and some were skipped."""
        ran = {(block.iteration, block.loop) for block in self.blocks if block.did == "ran"}
        left = {(block.iteration, block.loop) for block in self.blocks if block.did != "ran"}
        return frozenset((iteration, loop) for iteration, loop in ran & left if loop is not None)

    def loaded(self) -> frozenset[tuple[int, int]]:
        """Iterations and blocks whose states were loaded."""
        return frozenset((block.iteration, block.block) for block in self.blocks if block.did != "ran")


def read_report(path: Path) -> Evidence:
    """The lines that are complete; those that cannot be read are passed over."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError:
        return Evidence()
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Block))
        except msgspec.MsgspecError:
            continue
    return Evidence(tuple(found))


def missing_state(store: Store, manifests: Sequence[str], first: str | None, evidence: Evidence) -> list[str]:
    """What the checkpoints that were loaded lack of the state, for people."""
    loaded = evidence.loaded()
    if first is None and not loaded:
        return []
    found: dict[str, str] = {}
    for key in dict.fromkeys([*([first] if first else []), *manifests]):
        manifest = _manifest(store, key)
        if manifest is None:
            continue
        place = manifest.position.iteration, manifest.position.block
        if key == first or place in loaded:
            found.update(manifest.missing)
    return [f"checkpoints lack {name} ({reason})" for name, reason in found.items()]


def _manifest(store: Store, key: str) -> Manifest | None:
    try:
        return decode(store.get(key), Manifest, key=key)
    except (NotFound, Corrupt):
        return None  # the process could not use it either
