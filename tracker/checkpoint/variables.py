"""Variables of running functions: reading those that belong to the state, and writing them back."""

from __future__ import annotations

import ctypes
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from tracker.checkpoint.names import break_lines, global_names, names_at_exit

# What has no state of its own, or state that no result depends on.
_STATELESS = (ModuleType, FunctionType, BuiltinFunctionType, MethodType, type, io.IOBase)
_STATELESS_MODULES = (
    "tracker", "logging", "tqdm", "rich", "threading", "_thread", "asyncio", "concurrent", "contextlib", "argparse",
    "typing", "tensorboardX", "wandb", "torch.utils.tensorboard", "torch.utils.data",
)  # fmt: skip
_OPTIMIZED = 1  # the flag of code whose variables do not live in a dict: inspect.CO_OPTIMIZED
_OWN_REFERENCES = 3  # the frame's, ours, and that of the question
GLOBALS = "<globals>"  # in the place of a function
_SCALARS = (int, float, complex, str, bytes, bool, type(None))
_CONTAINERS = (list, dict, set, bytearray)


@dataclass
class Variables:
    """Variables of one frame at the exit of a block.

    ``values``: by name, as they are, not copied. ``presumed``: read-only ones whose capture may fail, because nothing
    shows that they change. ``iterators``: names whose position in a stream is part of the state. ``registered``: names
    of registered objects, of which only the names are part of this.
    """

    function: str
    file: str
    values: dict[str, Any] = field(default_factory=dict)
    presumed: set[str] = field(default_factory=set)
    iterators: set[str] = field(default_factory=set)
    registered: set[str] = field(default_factory=set)

    def changed(self) -> list[Any]:
        """The values that the loop assigns or changes, as far as the source shows."""
        return [value for name, value in self.values.items() if name not in self.presumed | self.registered]


def frames_between(outer: FrameType, inner: FrameType) -> list[FrameType] | None:
    """The frames from ``outer`` down to ``inner``; ``None`` when ``inner`` was not called from ``outer``."""
    found = [inner]
    while found[-1] is not outer:
        above = found[-1].f_back
        if above is None:
            return None
        found.append(above)
    return found[::-1]


def read_variables(frame: FrameType, *, loop_line: int | None, block_line: int | None, but: set[int]) -> Variables:
    """What belongs to the state of a frame. Objects whose ids are in ``but`` are taken care of elsewhere: of them only
    counts which variables hold them, of those that the loop assigns.
    """
    found = Variables(function=frame.f_code.co_qualname, file=frame.f_code.co_filename)
    names = names_at_exit(frame, loop_line, block_line)
    known = dict(frame.f_locals)
    _let_go(frame)
    if names is None:  # no source: whatever it has might change
        changed, used = set(), {name for name in known if not name.startswith("__")}
    else:
        changed, used = set(names.changed), set(names.used)
    for name in sorted(changed | used):
        if name in known:
            is_given = loop_line is None and isinstance(known[name], _SCALARS)  # by a caller that may begin again
            _sort(found, name, known[name], certain=name in changed or is_given, but=but)
    return found


def read_globals(frame: FrameType, *, but: set[int]) -> Variables:
    """The global variables of the frame's file that its functions change."""
    found = Variables(function=GLOBALS, file=frame.f_code.co_filename)
    if frame.f_locals is not frame.f_globals:
        for name in sorted(global_names(frame.f_code.co_filename)):
            if name in frame.f_globals:
                _sort(found, name, frame.f_globals[name], certain=True, but=but)
    return found


def _sort(found: Variables, name: str, value: Any, *, certain: bool, but: set[int]) -> None:
    if id(value) in but:
        if certain:
            found.values[name] = value
            found.registered.add(name)
        return
    if isinstance(value, _STATELESS):
        return
    if hasattr(type(value), "__next__"):
        found.iterators.add(name)
    elif type(value).__module__.startswith(_STATELESS_MODULES):
        return
    if certain:
        found.values[name] = value
    elif isinstance(value, _CONTAINERS) or hasattr(value, "__array__"):
        found.values[name] = value
        found.presumed.add(name)


def write_variables(frame: FrameType, values: Mapping[str, Any]) -> None:
    """Bind names of a running function, or of a module; names that the function does not have are left out."""
    if frame.f_locals is frame.f_globals:
        frame.f_globals.update(values)
        return
    own = {*frame.f_code.co_varnames, *frame.f_code.co_cellvars, *frame.f_code.co_freevars}
    known = frame.f_locals  # a proxy that writes through from 3.13 on, a dict before
    for name, value in values.items():
        if name in own:
            known[name] = value
    if sys.version_info < (3, 13):
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
    del known
    _let_go(frame)


def _let_go(frame: FrameType) -> None:
    """Forget the copy of a function's variables that asking for ``f_locals`` leaves in its frame before Python 3.13.

    It would keep the last batch, and with the loss its whole graph, until somebody asks again.
    """
    if sys.version_info < (3, 13) and frame.f_code.co_flags & _OPTIMIZED:
        known = frame.f_locals
        if sys.getrefcount(known) <= _OWN_REFERENCES:  # else the program holds it, from a call of locals()
            known.clear()


def write_globals(frame: FrameType, values: Mapping[str, Any]) -> None:
    """Bind global variables of the frame's file."""
    frame.f_globals.update(values)


def is_left_by_break(frame: FrameType) -> bool:
    """Whether a loop of this frame is being left by ``break``, and not by an exception or ``return``; where the source
    cannot be read, it is taken for granted.
    """
    lines = break_lines(frame.f_code.co_filename)
    return lines is None or frame.f_lineno in lines
