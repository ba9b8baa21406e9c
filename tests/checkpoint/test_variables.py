"""Variables of running functions are read, and written back."""

from __future__ import annotations

import io
import logging
import sys
import weakref
from typing import Any

from tracker.checkpoint.variables import frames_between, read_variables, write_variables


def test_locals_of_a_running_function_are_written() -> None:
    """Plain locals, and cells that a closure shares; names that the function does not have are left out."""
    count, shared = 1, [1]

    def peek() -> list[int]:
        return shared

    write_variables(sys._getframe(), {"count": 5, "shared": [2], "stranger": 1})

    assert count == 5
    assert peek() == [2]
    assert "stranger" not in locals()


def test_a_callee_writes_its_callers_locals() -> None:
    """The caller is suspended in a call meanwhile, as it is while its loop asks for the next item."""

    def restore(values: dict[str, Any]) -> None:
        write_variables(sys._getframe(1), values)

    best = None
    for value in range(3):
        restore({"best": value * 10})

    assert best == 20


def test_globals_of_a_module_are_written() -> None:
    """A script's loop runs at module level."""
    space: dict[str, Any] = {"write": write_variables, "sys": sys}
    exec("best = 1\nwrite(sys._getframe(), {'best': 7})\nseen = best", space)

    assert space["seen"] == 7


def test_reading_keeps_nothing_alive() -> None:
    """A loss holds its whole graph: it must go when its variable is bound anew."""

    class Graph:
        pass

    loss = Graph()
    gone = weakref.ref(loss)
    found = read_variables(sys._getframe(), loop_line=None, block_line=None, but=set())
    found.values.clear()
    write_variables(sys._getframe(), {"other": 1})
    loss = None  # type: ignore[assignment]

    assert gone() is None
    assert loss is None


def test_what_locals_gave_out_is_left_alone() -> None:
    """A program may keep the dict that ``locals()`` returned."""
    size = 5
    kept = locals()
    read_variables(sys._getframe(), loop_line=None, block_line=None, but=set())

    assert kept["size"] == size == 5


def test_what_has_no_state_is_left_out() -> None:
    """Modules, functions, loggers, open files; iterators are named."""
    import json

    def helper() -> None:
        pass

    values, log, file = [1], logging.getLogger("x"), io.StringIO()
    stream = iter([1, 2])
    found = read_variables(sys._getframe(), loop_line=None, block_line=None, but={id(values)})

    assert not {"json", "helper", "log", "file"} & set(found.values)
    assert found.registered == {"values"}
    assert "stream" in found.iterators
    assert all(each is not None for each in (json, log, file, stream, helper))


def test_frames_connect_a_caller_with_its_callee() -> None:
    """From the outer one down; ``None`` for frames that do not call each other."""
    here = sys._getframe()
    inner = (lambda: sys._getframe())()

    def deeper() -> Any:
        return frames_between(here, sys._getframe())

    assert [frame.f_code.co_name for frame in deeper()] == [here.f_code.co_name, "deeper"]
    assert frames_between(inner, here) is None
