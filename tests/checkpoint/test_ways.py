"""Whether a program that begins in the middle comes to its block by the way that the run took."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

import tracker
from tracker.checkpoint.blocks import Blocks, Counts, Spot
from tracker.checkpoint.ways import is_reached_anyway
from tracker.record.context import set_watcher

WAYS = {
    "in line": ("for step in tracker.loop('step', range(2)): pass", True),
    "behind a block": (
        "for a in tracker.loop('part', items):\n    if a > 1:\n        break\nfor s in tracker.loop('step', [1]): pass",
        True,
    ),
    "by the iteration": ("if epoch % 2 == 0:\n    for step in tracker.loop('step', range(2)): pass", True),
    "by what changes": ("total += 1\nif total > 0:\n    for step in tracker.loop('step', range(2)): pass", False),
    "behind a jump": ("total += 1\nif total < 0:\n    continue\nfor step in tracker.loop('step', [1]): pass", False),
    "behind a doubtful block": (
        "total += 1\nif total:\n    for a in tracker.loop('part', [1]): pass\nfor s in tracker.loop('step', [1]): pass",
        False,
    ),
    "in a plain loop": ("for phase in ('a', 'b'):\n    for step in tracker.loop('step', range(2)): pass", True),
    "in a loop over what changes": (
        "items = [*items, 1]\nfor phase in items:\n    for step in tracker.loop('step', range(2)): pass",
        False,
    ),
    "with a context": ("with nullcontext():\n    for step in tracker.loop('step', range(2)): pass", True),
    "in a function": ("total = train(items, 1)", True),
    "added to what nothing else changes": ("total += train(items, 1)", True),
    "added to what changes": ("total *= 0.5\ntotal += train(items, 1)", False),
    "behind a value that changes": ("count = count + 1\ntotal = count + train(items, 1)", False),
    "before a value that changes": ("count = count + 1\ntotal = train(items, 1) + count", True),
    "logged": ("tracker.log('total', train(items, 1))", True),
    "appended": ("items.append(train(items, 1))", True),
    "appended to a new list": ("items = []\nitems.append(train(items, 1))", False),
    "in a function, by what it is given": ("count = count + 1\ntotal = maybe(count)", False),
}
PROGRAM = """
import tracker
from contextlib import nullcontext

def train(items, size):
    done = 0
    for step in tracker.loop("step", range(size)):
        done += 1
    return done

def maybe(count):
    if count:
        return train([], 1)
    return 0

def main():
    total, count, items = 0, 0, [1, 2]
    for epoch in tracker.loop("epoch", range(1)):
"""


class Looks:
    """A keeper that looks at the exits of a loop named ``step``."""

    def __init__(self) -> None:
        self.found: list[bool] = []
        self.counts = Counts()

    def begin(self, *_: Any) -> int:
        return 0

    def start(self, *_: Any) -> None: ...

    def skip(self, *_: Any) -> bool:
        return False

    def leave(self, position: Any, spot: Spot, block_s: float) -> None:
        if position.block_loop == "step":
            self.found.append(is_reached_anyway(spot))

    def end_iteration(self, *_: Any) -> None: ...

    def finish(self) -> None: ...


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_a_block(tmp_path: Path, way: str) -> None:
    """Certain only where nothing that the loop changes has a say, nor waits for the block in an expression."""
    body, expected = WAYS[way]
    path, looks = tmp_path / "program.py", Looks()
    path.write_text(dedent(PROGRAM) + indent(body, " " * 8) + "\nmain()\n")
    set_watcher(Blocks(lambda: looks))

    try:
        with tracker.run(store="memory://ways", capture=()):
            exec(compile(path.read_text(), str(path), "exec"), {"__name__": "program"})
    finally:
        set_watcher(None)

    assert set(looks.found) == {expected}
