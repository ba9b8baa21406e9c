"""Static analysis: which variables belong to the state at the exit of a block."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from types import FrameType
from typing import Any

import pytest

from tracker.checkpoint.names import Names, global_names, names_at_exit


def analyse(tmp_path: Path, source: str) -> tuple[Names | None, frozenset[str]]:
    """The names at the first exit of ``inner`` in ``outer``; the program calls ``at_exit()`` there."""
    path = tmp_path / "program.py"
    path.write_text(dedent(source))
    lines = path.read_text().splitlines()
    numbers = {word: next((n for n, line in enumerate(lines, 1) if word in line), None) for word in ("outer", "inner")}
    found: list[Any] = []

    def at_exit() -> None:
        frame: FrameType = sys._getframe(1)
        if not found:
            found.append((names_at_exit(frame, numbers["outer"], numbers["inner"]), global_names(str(path))))

    space = {"at_exit": at_exit, "loop": lambda name, items: items, "__name__": "program"}
    exec(compile(path.read_text(), str(path), "exec"), space)
    names, globals_ = found[0]
    return names, globals_


def test_assigned_names_and_changed_containers_count(tmp_path: Path) -> None:
    """What is assigned, appended to or written into belongs to the state; what is only read is a maybe."""
    names, _ = analyse(
        tmp_path,
        """
        total, history, table, data = 0, [], {}, [1, 2]
        for epoch in loop("outer", range(1)):
            for x in loop("inner", data):
                total += x
                history.append(x)
                table[x] = 1
            at_exit()
        """,
    )

    assert names is not None
    assert names.changed >= {"epoch", "total", "history", "table"}
    assert "data" in names.used - names.changed


def test_what_only_the_block_uses_and_assigns_first_is_dead(tmp_path: Path) -> None:
    """Batches and predictions need not be kept; a value that outlives its iteration must."""
    names, _ = analyse(
        tmp_path,
        """
        def main():
            best, count = 0, 0
            for epoch in loop("outer", range(1)):
                for x, y in loop("inner", [(1, 2)]):
                    guess = x + y
                    loss = guess * 2
                    if loss > best:
                        best = loss
                    count = count + 1
                at_exit()
                print(loss, end="")
        main()
        """,
    )

    assert names is not None
    assert names.changed == {"epoch", "loss", "best", "count"}


def test_what_only_another_loop_uses_is_dead_too(tmp_path: Path) -> None:
    """A replay may skip that loop, and then its names do not even exist; what is under way stays alive."""
    names, _ = analyse(
        tmp_path,
        """
        def main():
            for epoch in loop("outer", range(1)):
                for turn in range(2):
                    start = turn
                    for x in loop("inner", [1]):
                        pass
                    at_exit()
                    print(start, end="")
                for batch in range(3):
                    twice = 2 * batch
        main()
        """,
    )

    assert names is not None
    assert names.changed == {"epoch", "turn", "start"}


def test_globals_that_functions_change_count(tmp_path: Path) -> None:
    """``global`` counters and containers of the module, wherever they are changed."""
    names, globals_ = analyse(
        tmp_path,
        """
        seen, calls, other = [], 0, 1
        def note(x):
            global calls
            calls += 1
            seen.append(x)
        def main():
            for epoch in loop("outer", range(1)):
                for x in loop("inner", [1]):
                    note(x)
                at_exit()
        main()
        """,
    )

    assert names == Names(frozenset({"epoch"}), frozenset())
    assert globals_ == {"seen", "calls"}


def test_an_iterator_that_the_block_advances_counts(tmp_path: Path) -> None:
    """``next(stream)`` changes the stream."""
    names, _ = analyse(
        tmp_path,
        """
        stream = iter(range(9))
        for epoch in loop("outer", range(1)):
            for _ in loop("inner", range(2)):
                item = next(stream)
            at_exit()
        """,
    )

    assert names is not None
    assert "stream" in names.changed
    assert "item" not in names.changed


def test_code_without_source_is_not_analysed() -> None:
    """Then the values themselves must tell."""
    space: dict[str, Any] = {"sys": sys}
    exec("frame = sys._getframe()", space)

    assert names_at_exit(space["frame"], 1, 1) is None


@pytest.mark.parametrize("head", ["for x in loop('inner', [1]):", "for x in loop(\n    'inner',\n    [1],\n):"])
def test_heads_over_several_lines_are_found(tmp_path: Path, head: str) -> None:
    """Black breaks long heads."""
    indented = head.replace("\n", "\n    ")
    source = f"for epoch in loop('outer', [1]):\n    {indented}\n        y = x\n    at_exit()\n"
    names, _ = analyse(tmp_path, source)

    assert names is not None
    assert "y" not in names.changed
