"""Classes and functions by name: written as ``module:Qualified.name``, and found again without executing anything."""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in (int, float, str, bool, list, dict, set, tuple, bytes)}
_HARMLESS = {*FACTORIES.values(), complex, object, type(None)}
_KNOWN_PACKAGES = ("sklearn.", "numpy.")


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


def has_plain_state(value: Any) -> bool:
    """Whether the attributes in ``__dict__`` are all that pickle itself would keep of an instance.

    scikit-learn's estimators count as such: their own methods only add the version.
    """
    kind: Any = type(value)
    if not hasattr(value, "__dict__") or isinstance(value, type | BaseException):
        return False
    pickles: Any = object
    if kind.__reduce__ is not pickles.__reduce__ or kind.__reduce_ex__ is not pickles.__reduce_ex__:
        return False
    if any(vars(base).get("__slots__") for base in kind.__mro__) or _is_extension(kind):
        return False
    own = kind.__getstate__ is not pickles.__getstate__ or hasattr(kind, "__setstate__")
    return not own or all(_is_known(base) for base in kind.__mro__ if vars(base).keys() & _STATE_METHODS)


_STATE_METHODS = {"__getstate__", "__setstate__"}


def _is_known(base: type) -> bool:
    return base is object or base.__module__.startswith("sklearn.")


def _is_extension(kind: type) -> bool:
    """Whether an instance holds more than Python sees, because a class written in C lies below it."""
    return any(
        not base.__flags__ & _HEAP_TYPE and base is not object and not base.__module__.endswith("typing")
        for base in kind.__mro__
    )


_HEAP_TYPE = 1 << 9


def blank(kind: Any, *, trust: bool) -> Any:
    """An instance without any attribute, of a class that a store named; ``None`` where that is not allowed.

    Without trust only classes of scikit-learn that the program itself has loaded, and none that acts when it is
    destroyed: an instance of any class, with attributes of anybody's choice, can be made to act by code that meets it.
    """
    if not isinstance(kind, type):
        return None
    if not trust and (not kind.__module__.startswith(_KNOWN_PACKAGES) or hasattr(kind, "__del__")):
        return None
    try:
        return object.__new__(kind)
    except TypeError:
        return None
