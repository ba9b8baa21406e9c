"""Classes and functions by name: written as ``module:Qualified.name``, and found again without executing anything."""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in (int, float, str, bool, list, dict, set, tuple, bytes)}
_HARMLESS = {*FACTORIES.values(), complex, object, type(None)}


def name_of(value: Any) -> str:
    """``module:Qualified.name`` of a class or function; a module has nothing behind the colon."""
    if isinstance(value, ModuleType):
        return f"{value.__name__}:"
    return f"{getattr(value, '__module__', None)}:{getattr(value, '__qualname__', type(value).__name__)}"


def find(name: str, *, may_import: bool = False) -> Any:
    """What has this name among the modules that are loaded, else ``None``.

    Only dictionaries are looked into: no attribute access that could run code. ``may_import`` loads the module, which
    does run its code.
    """
    module_name, _, path = name.partition(":")
    if may_import and module_name not in sys.modules:
        import importlib

        try:
            importlib.import_module(module_name)
        except ImportError:
            return None
    found: Any = sys.modules.get(module_name)
    for part in path.split(".") if path else ():
        try:
            found = vars(found).get(part)
        except TypeError:
            return None
    return found


def is_found(value: Any) -> bool:
    """Whether a class, function or module is found under its name: not so for what was defined inside a function."""
    return find(name_of(value)) is value


def is_global(value: Any) -> bool:
    """Whether a value is a class, function or module that its name alone stands for."""
    return isinstance(value, FunctionType | BuiltinFunctionType | type | ModuleType) and is_found(value)


def is_harmless(value: Any) -> bool:
    """Whether a global may be handed out because a store named it: types of plain values, and nothing that acts."""
    numpy = sys.modules.get("numpy")
    is_scalar = numpy is not None and isinstance(value, type) and issubclass(value, numpy.generic)
    return is_scalar or (isinstance(value, type) and value in _HARMLESS)
