"""The arguments of a tracked function by the names of its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from tracker.decorators.places import Place

from tracker.checkpoint.invocations import CapturedCall, masked
from tracker.secrets import is_secret_name

_QUICK = (int, float, bool, type(None))


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):  # some built-ins do not say
        return inspect.signature(lambda *args, **kwargs: None)


class Binding:
    """The signature of a function, ready to name the arguments of its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.signature = _signature(function)
        parameters = list(self.signature.parameters.values())
        in_class = "." in getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
        first = parameters[0].name if parameters else ""
        self.receiver = (first,) if in_class and first in ("self", "cls") else ()
        self._names = [each.name for each in parameters]
        self._is_simple = all(each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for each in parameters)
        self._defaults = {each.name: each.default for each in parameters if each.default is not each.empty}

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Every argument by the name of its parameter, defaults included; those of ``**kwargs`` by their own.

        Of a call that does not fit, what can be named: the function itself will raise.
        """
        if self._is_simple:
            return {**self._defaults, **dict(zip(self._names, args, strict=False)), **kwargs}
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError:
            return dict(kwargs)
        bound.apply_defaults()
        found: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if self.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                found.update(value)
            else:
                found[name] = value
        return found

    def columns(self, prefix: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """The arguments of a call inside of a run, as values of one row: described, and never kept as objects."""
        for name, value in self.named(args, kwargs).items():
            if name not in self.receiver:
                plain = type(value) in _QUICK and not is_secret_name(name, value)
                yield f"{prefix}.{name}", value if plain else masked(name, value)

    def captured(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_entry: bool, place: Place | None = None
    ) -> CapturedCall:
        """A copy of the arguments of a call that is a run of its own, without what an engine gives to every call."""
        named = self.named(args, kwargs)
        if place is None or place.kept is None:
            return CapturedCall.of(named, hidden=self.receiver, is_entry=is_entry)
        call = CapturedCall.of(place.kept(named), hidden=self.receiver, is_entry=is_entry)
        own = [name for name in self._names if name in named and name not in call.shown and name not in self.receiver]
        call.missing.update({name: f"is an object that {place.engine} gives, which is not recorded" for name in own})
        return call
