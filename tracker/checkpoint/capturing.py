"""From a value to its tree: a consistent copy of it at this moment."""

from __future__ import annotations

import dataclasses
import enum
import sys
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any

from tracker.checkpoint import arrays, atoms, instances, naming, stateful
from tracker.checkpoint.secrecy import pickled_without_secrets, refuse_secret
from tracker.checkpoint.tensors import TensorData, from_bytes
from tracker.checkpoint.tree import MAX_DEPTH, Tree
from tracker.errors import Uncapturable

_NODE_BYTES = 16
_LONG = 64  # from this length on, lists of numbers and bytes are tensors: smaller, and unchanged parts compress
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Capturing:
    """One capture of any number of values, which keeps what they share: call `take` for each, under its name.

    Not for several threads at once. ``max_bytes`` bounds all values together. ``registered``: objects by name whose
    state is captured elsewhere, so that values only refer to them.
    """

    def __init__(
        self,
        tensors: list[TensorData],
        *,
        max_bytes: int | None = None,
        allow_pickle: bool = False,
        registered: Mapping[str, Any] = _NOTHING,
    ) -> None:
        self._tensors, self._refuses = tensors, False
        self._room = sys.maxsize if max_bytes is None else max_bytes
        self._allow_pickle = allow_pickle
        self._registered = {id(value): name for name, value in registered.items()}
        self._known: dict[int, tuple[Any, str, int]] = {}  # by id; holds the objects, so that ids stay theirs
        self._open: set[int] = set()
        self._name, self._count, self._depth, self._is_object, self._is_root = "", 0, 0, False, False

    def take(self, value: Any, name: str = "", *, is_object: bool = False, refuse_secrets: bool = False) -> Tree:
        """The tree of a value; ``Uncapturable`` names the part that has none, and then nothing of it is kept.

        ``is_object``: the value is a registered object itself, so it is written out even though it is registered, and
        instances of any class with a plain ``__dict__`` inside of it are written with their attributes.
        ``refuse_secrets``: a value with one anywhere inside has no tree.
        """
        self._refuses = refuse_secrets
        before, room = len(self._tensors), self._room
        self._name, self._count, self._depth, self._is_object, self._is_root = name, 0, 0, is_object, is_object
        try:
            return self._node(value, name)
        except BaseException:
            del self._tensors[before:]
            self._room = room
            self._known = {key: known for key, known in self._known.items() if known[1] != name}
            raise
        finally:
            self._open.clear()

    def _node(self, value: Any, path: str) -> Tree:
        if value is None or value is True or value is False:
            return value
        if self._refuses:
            refuse_secret(value, path)
        self._spend(_NODE_BYTES, path, value)
        kind = type(value)
        if writer := atoms.WRITERS.get(kind):
            if kind is str:
                self._spend(len(value), path, value)
            if (node := writer(value)) is not None:
                return node
        if (name := self._registered.get(id(value))) is not None and not self._is_root:
            return {"$registered": name}
        if id(value) in self._known:
            return self._reference(value, path)
        return self._container(value, path)

    def _reference(self, value: Any, path: str) -> Tree:
        if id(value) in self._open:
            raise Uncapturable(path, type(value).__name__, "contains itself")
        _, name, number = self._known[id(value)]
        return {"$ref": number} if name == self._name else {"$ref": number, "of": name}

    def _container(self, value: Any, path: str) -> Tree:
        """The node of anything that has an identity: it gets its number before its parts get theirs."""
        self._known[id(value)] = (value, self._name, self._count)
        self._count += 1
        self._depth += 1
        self._is_root = False
        if self._depth > MAX_DEPTH:
            raise Uncapturable(path, type(value).__name__, f"is nested deeper than {MAX_DEPTH} levels")
        try:
            writer = _CONTAINERS.get(type(value))
            return writer(self, value, path) if writer else self._special(value, path)
        finally:
            self._depth -= 1

    def _special(self, value: Any, path: str) -> Tree:
        """What is told apart by more than its exact type."""
        try:
            node = arrays.write(value, lambda size: self._spend(size, path, value), self._add)
        except Uncapturable:
            raise
        except ValueError:
            return self._last_resort(value, path)
        if node is not None:
            return node
        if isinstance(value, enum.Enum) and not isinstance(value, enum.Flag) and naming.is_found(type(value)):
            return {"$enum": naming.name_of(type(value)), "member": value.name}
        if isinstance(value, tuple) and hasattr(value, "_fields") and naming.is_found(type(value)):
            return {"$namedtuple": naming.name_of(type(value)), "items": self._closed(value, path)}
        if naming.is_global(value):
            return {"$global": naming.name_of(value)}
        if (state := arrays.generator_state(value)) is not None:
            mark, kind, inner = state
            return {mark: kind, "state": self._node(inner, path)}
        if arrays.has_object_items(value):
            items = [self._node(item, f"{path}[{n}]") for n, item in enumerate(value.ravel().tolist())]
            return {"$objects": items, "shape": list(value.shape)}
        return self._instance(value, path)

    def _instance(self, value: Any, path: str) -> Tree:
        if kind := stateful.kind_of(value):
            return self._stateful(kind, value, path)
        if (arguments := instances.loss_arguments(value)) is not None:
            return self._loss(arguments, value, path)
        is_data = dataclasses.is_dataclass(value) or type(value).__module__.startswith("sklearn.")
        if (self._is_object or is_data) and instances.has_plain_state(value):
            items = instances.attributes(value)
            state = [[atoms.write_text(key), self._node(item, f"{path}.{key}")] for key, item in items]
            return {"$object": naming.name_of(type(value)), "state": state}
        return self._last_resort(value, path)

    def _loss(self, arguments: list[Any], value: Any, path: str) -> Tree:
        return {"$loss": naming.name_of(type(value)), "arguments": [self._node(item, path) for item in arguments]}

    def _stateful(self, kind: str, value: Any, path: str) -> Tree:
        try:
            state = stateful.state_of(kind, value)
        except Exception as exc:
            raise Uncapturable(path, naming.name_of(type(value)), f"does not give out its state: {exc!r}") from exc
        return {"$stateful": kind, "class": naming.name_of(type(value)), "state": self._node(state, path)}

    def _last_resort(self, value: Any, path: str) -> Tree:
        if not self._allow_pickle:
            raise Uncapturable(path, naming.name_of(type(value)))
        import pickle

        try:
            data = pickled_without_secrets(value, path) if self._refuses else pickle.dumps(value, protocol=5)
        except Uncapturable:
            raise
        except Exception as exc:
            raise Uncapturable(path, naming.name_of(type(value)), f"cannot be pickled, either: {exc}") from exc
        self._spend(len(data), path, value)
        return {"$pickle": self._add(from_bytes(data))}

    def _spend(self, size_bytes: int, path: str, value: Any) -> None:
        """Refuse before anything of that size is copied."""
        self._room -= size_bytes
        if self._room < 0:
            raise Uncapturable(path, type(value).__name__, "exceeds the size that a capture may have")

    def _add(self, data: TensorData) -> int:
        self._tensors.append(data)
        return len(self._tensors) - 1

    def _closed(self, value: Any, path: str) -> list[Tree]:
        """The items of something that exists only when all of them do."""
        self._open.add(id(value))
        items = [self._node(item, f"{path}[{number}]") for number, item in enumerate(value)]
        self._open.discard(id(value))
        return items

    def _alone(self, value: Any, path: str) -> Tree:
        """The tree of an item of a set: it refers to nothing outside of it, so that their order does not matter."""
        outer = self._known, self._name, self._count
        self._known, self._name, self._count = {}, "", 0
        try:
            return self._node(value, path)
        finally:
            self._known, self._name, self._count = outer

    def _list(self, value: list[Any], path: str) -> Tree:
        if len(value) >= _LONG:
            for kind, mark, code, dtype in ((float, "$floats", "d", "F64"), (int, "$ints", "q", "I64")):
                if all(type(item) is kind for item in value) and (packed := _packed(code, value)) is not None:
                    self._spend(len(packed), path, value)
                    return {mark: self._add(from_bytes(packed, dtype))}
        return [self._node(item, f"{path}[{number}]") for number, item in enumerate(value)]

    def _dict(self, value: dict[Any, Any], path: str) -> Tree:
        plain = all(type(key) is str and key.isascii() and not key.startswith("$") for key in value)
        if plain:
            return {key: self._node(item, f"{path}.{key}") for key, item in value.items()}
        return {"$dict": self._pairs(value, path)}

    def _pairs(self, value: Mapping[Any, Any], path: str) -> list[list[Tree]]:
        return [
            [self._node(key, f"{path}.<key>"), self._node(item, f"{path}[{key!r:.50}]")] for key, item in value.items()
        ]

    def _marked_dict(self, value: Any, path: str) -> Tree:
        return {"$mapping": type(value).__name__, "items": self._pairs(value, path)}

    def _defaultdict(self, value: defaultdict[Any, Any], path: str) -> Tree:
        factory = value.default_factory
        if factory is not None and factory not in naming.FACTORIES.values():
            return self._last_resort(value, path)
        name = None if factory is None else factory.__name__
        return {"$mapping": "defaultdict", "factory": name, "items": self._pairs(value, path)}

    def _tuple(self, value: tuple[Any, ...], path: str) -> Tree:
        return {"$tuple": self._closed(value, path)}

    def _set(self, value: set[Any] | frozenset[Any], path: str) -> Tree:
        return {f"${type(value).__name__}": [self._alone(item, f"{path}.<item>") for item in value]}

    def _deque(self, value: deque[Any], path: str) -> Tree:
        items = [self._node(item, f"{path}[{number}]") for number, item in enumerate(value)]
        return {"$deque": items, "maxlen": value.maxlen}

    def _slice(self, value: slice, path: str) -> Tree:
        parts = (value.start, value.stop, value.step)
        return {"$slice": [self._node(part, path) for part in parts]}

    def _bytes(self, value: bytes | bytearray, path: str) -> Tree:
        self._spend(len(value), path, value)
        kind = {"kind": "bytearray"} if type(value) is bytearray else {}
        if len(value) >= _LONG:
            return {"$bytes": self._add(from_bytes(bytes(value)))} | kind
        return {"$bytes": value.hex()} | kind

    def _random(self, value: Random, path: str) -> Tree:
        version, state, gauss = value.getstate()
        self._spend(4 * len(state), path, value)
        number = self._add(from_bytes(array("I", state).tobytes(), "U32"))
        return {"$random": number, "version": version, "gauss": None if gauss is None else atoms.write_float(gauss)}


def _packed(code: str, values: list[Any]) -> bytes | None:
    try:
        return array(code, values).tobytes()
    except OverflowError:
        return None


_CONTAINERS: dict[type, Callable[[Capturing, Any, str], Tree]] = {
    list: Capturing._list,
    dict: Capturing._dict,
    OrderedDict: Capturing._marked_dict,
    Counter: Capturing._marked_dict,
    defaultdict: Capturing._defaultdict,
    tuple: Capturing._tuple,
    set: Capturing._set,
    frozenset: Capturing._set,
    deque: Capturing._deque,
    slice: Capturing._slice,
    bytes: Capturing._bytes,
    bytearray: Capturing._bytes,
    Random: Capturing._random,
}
