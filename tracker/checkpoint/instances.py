"""Instances of ordinary classes: attributes are read and set past their own methods, so that nothing of them runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_HEAP_TYPE = 1 << 9
_STATE_METHODS = {"__getstate__", "__setstate__"}
_TRUSTED_PACKAGE = "sklearn."
_LOSSES = ("sklearn.linear_model._sgd_fast", "sklearn._loss._loss")


def has_plain_state(value: Any) -> bool:
    """Whether its attributes are all that pickle itself would keep of an instance.

    scikit-learn's estimators count as such: their own methods only add the version.
    """
    kind: Any = type(value)
    pickles: Any = object
    if isinstance(value, type | BaseException) or not (hasattr(value, "__dict__") or _slots(kind)):
        return False
    if kind.__reduce__ is not pickles.__reduce__ or kind.__reduce_ex__ is not pickles.__reduce_ex__:
        return False
    if any(_is_extension(base) for base in kind.__mro__):
        return False
    return all(
        base is object or base.__module__.startswith(_TRUSTED_PACKAGE) or _is_generated(base)
        for base in kind.__mro__
        if vars(base).keys() & _STATE_METHODS
    )


def _is_extension(base: type) -> bool:
    """Whether its instances may hold more than Python sees, because it is written in C."""
    return not base.__flags__ & _HEAP_TYPE and base is not object and not base.__module__.endswith("typing")


def _is_generated(base: type) -> bool:
    """Whether the methods are those that ``dataclass(frozen=True, slots=True)`` writes."""
    methods = [vars(base)[name] for name in _STATE_METHODS & vars(base).keys()]
    return all(getattr(method, "__module__", None) == "dataclasses" for method in methods)


def _slots(kind: type) -> list[str]:
    found: list[str] = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        names = [slots] if isinstance(slots, str) else list(slots)
        found += [name for name in names if name not in {"__dict__", "__weakref__"} and not name.startswith("__")]
    return found


def attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Names and values, those of ``__dict__`` in the order in which they were set."""
    yield from list(getattr(value, "__dict__", {}).items())
    for name in _slots(type(value)):
        if (found := _slot(value, name)) is not None:
            yield name, found[0]


def _slot(value: Any, name: str) -> tuple[Any] | None:
    try:
        return (object.__getattribute__(value, name),)
    except AttributeError:
        return None


def set_attributes(value: Any, fresh: Mapping[str, Any]) -> None:
    """Make these all the attributes that an instance has."""
    slots = set(_slots(type(value)))
    for name in slots:
        if name in fresh:
            object.__setattr__(value, name, fresh[name])
        elif _slot(value, name) is not None:
            object.__delattr__(value, name)
    rest = {name: item for name, item in fresh.items() if name not in slots}
    if hasattr(value, "__dict__"):
        vars(value).clear()
        vars(value).update(rest)
    elif rest:
        raise ValueError(f"{type(value).__name__} has no attributes {sorted(rest)}")


def blank(kind: Any, *, trust: bool) -> Any:
    """An instance without any attribute, of a class that a store named; ``None`` where that is not allowed.

    Without trust only classes of scikit-learn that the program itself has loaded, and none that acts when it is
    destroyed: an instance of any class, with attributes of anybody's choice, can be made to act by code that meets it.
    """
    if not isinstance(kind, type):
        return None
    if not trust and (not kind.__module__.startswith(_TRUSTED_PACKAGE) or hasattr(kind, "__del__")):
        return None
    try:
        return object.__new__(kind)
    except TypeError:
        return None


def loss_arguments(value: Any) -> list[Any] | None:
    """What to call the class of one of scikit-learn's compiled losses with to get an equal one; else ``None``.

    They are the one thing without plain attributes in its linear models, and numbers are all that they are made from.
    """
    if type(value).__module__ not in _LOSSES:
        return None
    kind, arguments, *state = value.__reduce__()
    return list(arguments) if kind is type(value) and not any(state) and _are_numbers(arguments) else None


def make_loss(kind: Any, arguments: list[Any]) -> Any:
    """A loss of this class; ``ValueError`` for any other class or for arguments that no loss has."""
    if not isinstance(kind, type) or kind.__module__ not in _LOSSES or not _are_numbers(arguments):
        raise ValueError(f"{kind} is no loss of scikit-learn")
    return kind(*arguments)


def _are_numbers(arguments: Any) -> bool:
    return all(type(item) in {int, float} for item in arguments)
