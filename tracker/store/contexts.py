"""The tree of contexts in a journal: loops and steps, resolved for all records at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracker.store import frames
from tracker.store.journals import Frames

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VALUE_KIND = {
    frames.ITERATION_FLOAT: frames.FLOAT,
    frames.ITERATION_INT: frames.INT,
    frames.ITERATION_BOOL: frames.BOOL,
    frames.ITERATION_TEXT: frames.TEXT,
    frames.STEP_FLOAT: frames.FLOAT,
    frames.STEP_INT: frames.INT,
    frames.STEP_BOOL: frames.BOOL,
    frames.STEP_TEXT: frames.TEXT,
}
STEP_KINDS = (frames.STEP_FLOAT, frames.STEP_INT, frames.STEP_BOOL, frames.STEP_TEXT)
ITERATED_KINDS = (frames.ITERATION_FLOAT, frames.ITERATION_INT, frames.ITERATION_BOOL, frames.ITERATION_TEXT)


@dataclass
class Contexts:
    """Nodes 0 (the run), 1, 2 … in the order in which they were entered.

    ``canonical[n]`` is the first node with the same chain as ``n``; ``path[n]`` indexes ``paths`` (tuples of loop
    names); ``levels[n]`` counts the loops of its path. ``value_kind`` is a kind of ``frames``, or 0 where a loop's
    index stands for its value.
    """

    of_slot: NDArray[np.int32]  # node that a slot began, else 0
    slot: NDArray[np.int64]
    parent: NDArray[np.int32]
    is_step: NDArray[np.bool_]
    name: NDArray[np.int32]  # index into names
    index: NDArray[np.int64]
    value_kind: NDArray[np.uint8]
    value: NDArray[np.int64]
    path: NDArray[np.int32]
    levels: NDArray[np.int32]
    canonical: NDArray[np.int32]
    lost: NDArray[np.bool_]
    names: list[str]
    paths: list[tuple[str, ...]]
    depth: int

    def nodes_of(self, context: NDArray[np.uint64]) -> NDArray[np.int32]:
        """The nodes of records' context words; -1 where the context was lost."""

        slots = _slots(context)
        nodes = _at(self.of_slot, slots)
        nodes[(nodes == 0) & (slots != 0)] = -1
        nodes[self.lost[nodes]] = -1
        return nodes


class _Interner:
    """Small integers for texts, in the order of their first appearance."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def __call__(self, item: Any) -> int:
        number = self._numbers.get(item)
        if number is None:
            number = self._numbers[item] = len(self.items)
            self.items.append(item)
        return number


def _slots(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The slots that numbers of contexts stand for."""
    import numpy as np

    slots: NDArray[np.int64] = ((numbers & np.uint64(frames.NUMBER_MASK)) // np.uint64(frames.SLOT_BYTES)).view(
        np.int64
    )
    return slots


def _at(of_slot: NDArray[np.int32], slots: NDArray[np.int64]) -> NDArray[np.int32]:
    """The nodes that slots began; 0 where there is none, also for damaged numbers beyond the end."""
    nodes: NDArray[np.int32] = of_slot[slots.clip(max=len(of_slot) - 1)]
    nodes[slots >= len(of_slot)] = 0
    return nodes


def resolve(journal: Frames) -> Contexts:
    """The contexts of all committed frames of a journal."""
    import numpy as np

    kind = journal.kind[: journal.end]
    is_node = kind == frames.ITERATION
    for step_kind in STEP_KINDS:
        is_node |= kind == step_kind
    slot = is_node.nonzero()[0]
    count = len(slot) + 1
    of_slot = np.zeros(max(journal.end, 1), np.int32)
    of_slot[slot] = np.arange(1, count, dtype=np.int32)

    node_kind = np.zeros(count, np.uint8)
    node_kind[1:] = kind[slot]
    parent_slots = _slots(journal.context[slot])
    parent = np.zeros(count, np.int32)
    parent[1:] = _at(of_slot, parent_slots)
    lost = np.zeros(count, bool)
    lost[1:] = (parent[1:] == 0) & (parent_slots != 0)

    intern = _Interner()
    intern("")  # what lost names are called; nothing is ever shown under it
    name = np.zeros(count, np.int32)
    index = np.zeros(count, np.int64)
    index[1:] = journal.value[slot]
    value_kind = np.zeros(count, np.uint8)
    value = index.copy()
    numbers = (journal.tag[slot] & np.uint64(frames.NUMBER_MASK)).astype(np.int64)
    for number in np.unique(numbers).tolist():
        nodes = (numbers == number).nonzero()[0] + 1
        found = journal.name(number)
        if found is None:
            lost[nodes] = True
            continue
        name[nodes] = intern(found.name)
        if found.start is not None and found.stride is not None:
            value_kind[nodes] = frames.INT
            value[nodes] = found.start + found.stride * index[nodes]
    is_step = np.zeros(count, bool)
    for step_kind in STEP_KINDS:
        nodes = (node_kind == step_kind).nonzero()[0]
        is_step[nodes] = True
        value_kind[nodes] = _VALUE_KIND[step_kind]
        index[nodes] = 0
    _take_iterated_values(journal, kind, of_slot, value_kind, value)
    _unify_texts(journal, value_kind, value)
    return _link(of_slot, slot, parent, is_step, name, index, value_kind, value, lost, intern.items)


def _take_iterated_values(
    journal: Frames,
    kind: NDArray[np.uint8],
    of_slot: NDArray[np.int32],
    value_kind: NDArray[np.uint8],
    value: NDArray[np.int64],
) -> None:

    for iterated_kind in ITERATED_KINDS:
        slots = (kind == iterated_kind).nonzero()[0]
        if not len(slots):
            continue
        nodes = _at(of_slot, _slots(journal.context[slots]))
        value_kind[nodes] = _VALUE_KIND[iterated_kind]
        value[nodes] = journal.value[slots]
    value_kind[0] = 0


def _unify_texts(journal: Frames, value_kind: NDArray[np.uint8], value: NDArray[np.int64]) -> None:
    """Let equal texts have equal numbers, though two threads interned the same one."""
    import numpy as np

    nodes = (value_kind == frames.TEXT).nonzero()[0]
    first: dict[str | None, int] = {}
    numbers, inverse = np.unique(value[nodes], return_inverse=True)
    unified = [first.setdefault(journal.text(number), number) for number in numbers.tolist()]
    value[nodes] = np.array(unified, np.int64)[inverse] if unified else value[nodes]


def _link(
    of_slot: NDArray[np.int32],
    slot: NDArray[np.int64],
    parent: NDArray[np.int32],
    is_step: NDArray[np.bool_],
    name: NDArray[np.int32],
    index: NDArray[np.int64],
    value_kind: NDArray[np.uint8],
    value: NDArray[np.int64],
    lost: NDArray[np.bool_],
    names: list[str],
) -> Contexts:
    """Resolve paths and equal chains, one depth of the tree after the other."""
    import numpy as np

    count = len(parent)
    path = np.zeros(count, np.int32)
    levels = np.zeros(count, np.int32)
    canonical = np.arange(count, dtype=np.int32)
    resolved = np.zeros(count, bool)
    resolved[0] = True
    paths = _Interner()
    paths(())
    open_nodes = np.arange(1, count)
    depth = 0
    while len(open_nodes):
        ready = resolved[parent[open_nodes]]
        nodes, open_nodes = open_nodes[ready], open_nodes[~ready]
        if not len(nodes):  # a cycle cannot be written; damaged numbers could make one
            lost[open_nodes] = True
            break
        depth += 1
        above = parent[nodes]
        lost[nodes] |= lost[above]
        levels[nodes] = levels[above] + ~is_step[nodes]
        path[nodes] = _extend_paths(paths, path[above], name[nodes], is_step[nodes], names)
        canonical[nodes] = _first_equal(
            nodes, canonical[above], name[nodes], is_step[nodes], index[nodes], value_kind[nodes], value[nodes]
        )
        resolved[nodes] = True
    return Contexts(
        of_slot, np.concatenate([np.zeros(1, np.int64), slot]), parent, is_step, name, index, value_kind, value,
        path, levels, canonical, lost, names, paths.items, depth,
    )  # fmt: skip


def _extend_paths(
    paths: _Interner,
    above: NDArray[np.int32],
    name: NDArray[np.int32],
    is_step: NDArray[np.bool_],
    names: list[str],
) -> NDArray[np.int32]:
    import numpy as np

    extended = above.copy()
    loops = (~is_step).nonzero()[0]
    keys = above[loops].astype(np.int64) << 32 | name[loops]
    unique, inverse = np.unique(keys, return_inverse=True)
    numbers = [paths((*paths.items[key >> 32], names[key & 0xFFFFFFFF])) for key in unique.tolist()]
    if numbers:
        extended[loops] = np.array(numbers, np.int32)[inverse]
    return extended


def _first_equal(
    nodes: NDArray[np.int64],
    above: NDArray[np.int32],
    name: NDArray[np.int32],
    is_step: NDArray[np.bool_],
    index: NDArray[np.int64],
    value_kind: NDArray[np.uint8],
    value: NDArray[np.int64],
) -> NDArray[np.int64]:
    """For each node of one depth the first one with equal parent, name, index and value."""
    import numpy as np

    one_loop = len(nodes) == 1 or (bool((name == name[0]).all()) and not is_step.any())
    forward = (above[1:] > above[:-1]) | ((above[1:] == above[:-1]) & (index[1:] > index[:-1]))
    if one_loop and bool(forward.all()):
        return nodes
    columns = (value, value_kind, index, is_step, name, above)
    order = np.lexsort(columns)
    new_group = np.ones(len(nodes), bool)
    for column in columns:
        ordered = column[order]
        if column is columns[0]:
            differs = ordered[1:] != ordered[:-1]
        else:
            differs |= ordered[1:] != ordered[:-1]
    new_group[1:] = differs
    starts = new_group.nonzero()[0]
    first_of_group = nodes[order[starts]]  # lexsort is stable, so the first of a group was entered first
    equal = np.empty(len(nodes), np.int64)
    equal[order] = first_of_group[np.cumsum(new_group) - 1]
    return equal
