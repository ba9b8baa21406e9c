"""From a tree to a value, written into what exists wherever that has the same form."""

from __future__ import annotations

import random
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from enum import EnumMeta
from types import MappingProxyType
from typing import Any, TypeVar

from tracker.checkpoint import arrays, atoms, instances, naming, stateful
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import MISSING, Tree, mark
from tracker.errors import DamagedDocument, HindsightError, Unfitting, Untrusted

Value = TypeVar("Value")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Restoring:
    """The way back from one `Capturing`: call `give` for each name, in the same order.

    Existing values are changed in place where they have the type that was captured, so that whatever shares them sees
    the old state. No existing object is used for two captured ones. Nothing is imported, unpickled or called because
    a tree says so, unless ``trust`` is set; ``Untrusted`` names what would need it, ``DamagedDocument`` what no capture
    has written. After an error some existing values may hold the old state and others not.
    """

    def __init__(
        self,
        tensors: Sequence[TensorData],
        *,
        trust: bool = False,
        registered: Mapping[str, Any] = _NOTHING,
        stand_in: Callable[[str, str, Any], Any] | None = None,
    ) -> None:
        """``stand_in``: makes plain values of a kind, a name and a state in place of all objects, and of what trust
        was not given for.
        """
        self._tensors, self._trust, self._registered, self._stand_in = tensors, trust, registered, stand_in
        self._made: dict[tuple[str, int], Any] = {}
        self._used: dict[int, Any] = {}  # existing objects by id
        self._written: list[tuple[tuple[int, int], Any, Any]] = []  # memory, array there, what it must hold
        self._name, self._count = "", 0

    def give(self, tree: Tree, existing: Any = MISSING, name: str = "") -> Any:
        """The value of a tree: the existing one, changed, or a new one to be bound."""
        self._name, self._count = name, 0
        try:
            return self._value(tree, existing)
        except HindsightError:
            raise
        except Exception as exc:  # whatever a malformed tree provokes
            raise DamagedDocument(f"the state of {name or 'a value'} is malformed: {exc!r}") from exc

    def claim(self, existing: Any) -> None:
        """Say that an object has been restored by other means, so that it is not written again."""
        self._used[id(existing)] = existing

    def _value(self, tree: Tree, existing: Any) -> Any:
        if isinstance(tree, list):
            return self._list(tree, existing)
        if not isinstance(tree, dict):
            return tree
        what = mark(tree)
        if what is None:
            return self._dict(dict, [[key, item] for key, item in tree.items()], existing)
        if reader := atoms.READERS.get(what):
            return reader(tree)
        if what == "$ref":
            return self._made[tree.get("of", self._name), int(tree["$ref"])]
        if what == "$registered":
            return self._registered[tree["$registered"]]
        return self._marked(what, tree, existing)

    def _marked(self, what: str, tree: Tree, existing: Any) -> Any:
        if reader := _READERS.get(what):
            return reader(self, tree, existing)
        number = self._number()
        if what in arrays.GENERATORS:
            state = self._value(tree["state"], MISSING)
            value = arrays.set_generator(what, tree[what], state, self._target(existing, type(existing)))
        elif what in arrays.MARKS:
            value = self._array(arrays.read(what, tree, self._tensors.__getitem__), existing)
        else:
            raise DamagedDocument(f"nothing is known of the mark {what!r}")
        return self._keep(number, value)

    def _number(self) -> tuple[str, int]:
        self._count += 1
        return self._name, self._count - 1

    def _keep(self, number: tuple[str, int], value: Value) -> Value:
        self._made[number] = value
        return value

    def _target(self, existing: Any, kind: type) -> Any:
        """The existing object when it is of this very type and was not written to before, else ``MISSING``."""
        if existing is MISSING or type(existing) is not kind or id(existing) in self._used:
            return MISSING
        self._used[id(existing)] = existing
        return existing

    def _array(self, fresh: Any, existing: Any) -> Any:
        """The existing array where it can hold the values without spoiling another that shares its memory."""
        memory = arrays.memory_range(existing)
        if self._target(existing, type(fresh)) is MISSING:
            return fresh
        if memory is None:
            return existing if arrays.copy_into(existing, fresh) else fresh
        shared = [(place, held) for at, place, held in self._written if at[0] < memory[1] and memory[0] < at[1]]
        if not arrays.copy_into(existing, fresh):
            return fresh
        if spoiled := [(place, held) for place, held in shared if not arrays.same(place, held)]:
            for place, held in spoiled:
                arrays.copy_into(place, held)
            return fresh
        self._written.append((memory, existing, fresh))
        return existing

    def _list(self, items: list[Tree], existing: Any) -> list[Any]:
        target = self._target(existing, list)
        result: list[Any] = [] if target is MISSING else target
        self._keep(self._number(), result)
        old = list(result)
        result[:] = [self._value(item, old[n] if n < len(old) else MISSING) for n, item in enumerate(items)]
        return result

    def _dict(self, kind: Any, pairs: list[list[Tree]], existing: Any, *arguments: Any) -> Any:
        target = self._target(existing, kind)
        result = kind(*arguments) if target is MISSING else target
        if arguments:
            result.default_factory = arguments[0]
        self._keep(self._number(), result)
        old, fresh = dict(result), {}
        for key_tree, item in pairs:
            key = self._value(key_tree, MISSING)
            fresh[key] = self._value(item, old.get(key, MISSING))
        result.clear()
        result.update(fresh)
        return result

    def _mapping(self, tree: Tree, existing: Any) -> Any:
        if tree["$mapping"] == "defaultdict":
            name = tree["factory"]
            return self._dict(defaultdict, tree["items"], existing, None if name is None else naming.FACTORIES[name])
        return self._dict({"OrderedDict": OrderedDict, "Counter": Counter}[tree["$mapping"]], tree["items"], existing)

    def _plain_dict(self, tree: Tree, existing: Any) -> Any:
        return self._dict(dict, tree["$dict"], existing)

    def _tuple(self, tree: Tree, existing: Any) -> tuple[Any, ...]:
        number = self._number()
        return self._keep(number, tuple(self._items(tree["$tuple"], existing)))

    def _items(self, trees: list[Tree], existing: Any) -> list[Any]:
        """Items of a tuple: it cannot be changed, but what stands in the old one can."""
        old = existing if isinstance(existing, tuple) and len(existing) == len(trees) else [MISSING] * len(trees)
        return [self._value(item, old[n]) for n, item in enumerate(trees)]

    def _namedtuple(self, tree: Tree, existing: Any) -> Any:
        number = self._number()
        items = self._items(tree["items"], existing)
        kind = naming.find(tree["$namedtuple"], may_import=self._trust)
        if isinstance(kind, type) and issubclass(kind, tuple) and len(getattr(kind, "_fields", ())) == len(items):
            return self._keep(number, tuple.__new__(kind, items))
        return self._keep(number, self._untrusted("namedtuple", tree["$namedtuple"], items))

    def _enum(self, tree: Tree, existing: Any) -> Any:
        number = self._number()
        kind = naming.find(tree["$enum"], may_import=self._trust)
        if isinstance(kind, EnumMeta):
            return self._keep(number, kind.__members__[tree["member"]])
        return self._keep(number, self._untrusted("enum", tree["$enum"], tree["member"]))

    def _global(self, tree: Tree, existing: Any) -> Any:
        number, name = self._number(), tree["$global"]
        found = naming.find(name, may_import=self._trust)
        if found is not None and (self._trust or found is existing or naming.is_harmless(found)):
            return self._keep(number, found)
        return self._keep(number, self._untrusted("global", name, None))

    def _pickle(self, tree: Tree, existing: Any) -> Any:
        number = self._number()
        data = bytes(self._tensors[tree["$pickle"]].data)
        if not self._trust:
            return self._keep(number, self._untrusted("pickle", "pickle", None))
        import pickle

        return self._keep(number, pickle.loads(data))

    def _object(self, tree: Tree, existing: Any) -> Any:
        """An instance with its attributes set past its own methods, so that nothing of it runs."""
        number, name = self._number(), tree["$object"]
        result = self._same_class(existing, name)
        if self._stand_in is not None:
            state: dict[str, Any] = self._keep(number, {})
            state.update(self._attributes(tree["state"], {}))
            return state
        if result is MISSING or not instances.has_plain_state(result):
            result = instances.blank(naming.find(name, may_import=self._trust), trust=self._trust)
        if result is None:
            return self._untrusted("object", name, None)
        self._keep(number, result)
        instances.set_attributes(result, self._attributes(tree["state"], dict(instances.attributes(result))))
        return result

    def _stateful(self, tree: Tree, existing: Any) -> Any:
        """An object that takes its state back: there must be one, of the same class."""
        number, kind, name = self._number(), tree["$stateful"], tree["class"]
        if self._stand_in is not None:
            self._keep(number, None)
            return self._keep(number, self._stand_in(kind, name, self._value(tree["state"], MISSING)))
        target = self._same_class(existing, name)
        where = self._name or "a value"
        if target is MISSING or stateful.kind_of(target) != kind:
            raise Unfitting(f"the state of {where} has to go into an object of {name}, and none is there")
        self._keep(number, target)
        fresh = self._value(tree["state"], stateful.state_of(kind, target))
        try:
            stateful.load(kind, target, fresh)
        except Exception as exc:
            raise Unfitting(f"the state of {where} does not fit its {name}: {exc}") from exc
        return target

    def _loss(self, tree: Tree, existing: Any) -> Any:
        number = self._number()
        arguments = [self._value(item, MISSING) for item in tree["arguments"]]
        return self._keep(number, instances.make_loss(naming.find(tree["$loss"], may_import=self._trust), arguments))

    def _same_class(self, existing: Any, name: str) -> Any:
        return self._target(existing, type(existing)) if naming.name_of(type(existing)) == name else MISSING

    def _attributes(self, pairs: list[list[Tree]], old: dict[str, Any]) -> dict[str, Any]:
        fresh = {}
        for key_tree, item in pairs:
            key = str(self._value(key_tree, MISSING))
            fresh[key] = self._value(item, old.get(key, MISSING))
        return fresh

    def _untrusted(self, kind: str, name: str, state: Any) -> Any:
        if self._stand_in is not None:
            return self._stand_in(kind, name, state)
        raise Untrusted(f"the state of {self._name or 'a value'} needs {name}: load it with trust=True if you trust it")

    def _set(self, tree: Tree, existing: Any) -> Any:
        number = self._number()
        target = self._target(existing, set)
        result: set[Any] = set() if target is MISSING else target
        fresh = self._loose(tree["$set"])
        result.clear()
        for item in fresh:
            result.add(item)
        return self._keep(number, result)

    def _frozenset(self, tree: Tree, existing: Any) -> frozenset[Any]:
        return self._keep(self._number(), frozenset(self._loose(tree["$frozenset"])))

    def _loose(self, trees: list[Tree]) -> list[Any]:
        """Items of a set, each with numbers of its own."""
        outer, items = (self._name, self._count, self._made), []
        for item in trees:
            self._name, self._count, self._made = "", 0, {}
            items.append(self._value(item, MISSING))
        self._name, self._count, self._made = outer
        return items

    def _deque(self, tree: Tree, existing: Any) -> Any:
        limit = tree["maxlen"]
        target = self._target(existing, deque) if getattr(existing, "maxlen", limit) == limit else MISSING
        result: deque[Any] = deque(maxlen=limit) if target is MISSING else target
        self._keep(self._number(), result)
        old = list(result)
        fresh = [self._value(item, old[n] if n < len(old) else MISSING) for n, item in enumerate(tree["$deque"])]
        result.clear()
        result.extend(fresh)
        return result

    def _slice(self, tree: Tree, existing: Any) -> slice:
        number = self._number()
        start, stop, step = (self._value(part, MISSING) for part in tree["$slice"])
        return self._keep(number, slice(start, stop, step))

    def _bytes(self, tree: Tree, existing: Any) -> bytes | bytearray:
        number, stored = self._number(), tree["$bytes"]
        data = bytes.fromhex(stored) if isinstance(stored, str) else bytes(self._tensors[stored].data)
        if tree.get("kind") != "bytearray":
            return self._keep(number, data)
        target = self._target(existing, bytearray)
        result: bytearray = bytearray() if target is MISSING else target
        result[:] = data
        return self._keep(number, result)

    def _numbers(self, tree: Tree, existing: Any) -> list[Any]:
        code, where = ("d", tree["$floats"]) if "$floats" in tree else ("q", tree["$ints"])
        target = self._target(existing, list)
        result: list[Any] = [] if target is MISSING else target
        result[:] = array(code, bytes(self._tensors[where].data)).tolist()
        return self._keep(self._number(), result)

    def _objects(self, tree: Tree, existing: Any) -> Any:
        number = self._number()
        items = [self._value(item, MISSING) for item in tree["$objects"]]
        return self._keep(number, arrays.read_objects(items, tree["shape"]))

    def _random(self, tree: Tree, existing: Any) -> random.Random:
        number = self._number()
        state = tuple(array("I", bytes(self._tensors[tree["$random"]].data)))
        gauss = tree["gauss"]
        target = self._target(existing, random.Random)
        result = random.Random(0) if target is MISSING else target
        result.setstate((tree["version"], state, atoms.READERS["$float"](gauss) if isinstance(gauss, dict) else gauss))
        return self._keep(number, result)


_READERS: dict[str, Callable[[Restoring, Tree, Any], Any]] = {
    "$dict": Restoring._plain_dict,
    "$mapping": Restoring._mapping,
    "$tuple": Restoring._tuple,
    "$namedtuple": Restoring._namedtuple,
    "$set": Restoring._set,
    "$frozenset": Restoring._frozenset,
    "$deque": Restoring._deque,
    "$slice": Restoring._slice,
    "$bytes": Restoring._bytes,
    "$floats": Restoring._numbers,
    "$ints": Restoring._numbers,
    "$objects": Restoring._objects,
    "$enum": Restoring._enum,
    "$global": Restoring._global,
    "$pickle": Restoring._pickle,
    "$object": Restoring._object,
    "$loss": Restoring._loss,
    "$stateful": Restoring._stateful,
    "$random": Restoring._random,
}
