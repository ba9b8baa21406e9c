"""How a function was called: its arguments and the random generators, so that a replay can call it the same way again.

For runs that no script on a command line starts again: tasks of an orchestrator, and calls from notebooks.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tracker.checkpoint.capturing import Capturing
from tracker.checkpoint.generators import capture_generators, restore_generators
from tracker.checkpoint.manifest import Tensor
from tracker.checkpoint.payloads import Payload, describe, payload_of, read_payload
from tracker.checkpoint.reading import StoredTensors, TensorReader
from tracker.checkpoint.restoring import Restoring
from tracker.checkpoint.storing import State, StoredState, publish_state
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.tree import Tree, pickled_paths
from tracker.errors import Uncapturable
from tracker.record.values import PLAIN_TYPES, plain
from tracker.secrets import MASK, is_secret_name, mask_text, mask_value
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import decode, encode
from tracker.store.objects import get_object, store_object

MAX_BYTES = 256 << 20  # of one argument; of larger ones the type and schema are recorded
_MAX_SHOWN_CHARS = 2000


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An argument that lies in an object of its own, as a file of a standard format."""

    type: str
    object: str
    size_bytes: int


class Invocation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``invocation.json`` of an attempt.

    ``arguments`` are trees in which ``{"$tensor": n}`` stands for ``tensors[n]``; ``kept`` those that are files.
    """

    run: str
    attempt: str
    arguments: dict[str, Any] = {}
    kept: dict[str, Kept] = {}
    missing: dict[str, str] = {}  # name -> why it cannot be given again
    generators: dict[str, Any] = {}
    tensors: tuple[Tensor, ...] = ()
    rests_on: tuple[str, ...] = ()
    pickled: tuple[str, ...] = ()


@dataclass
class CapturedCall:
    """A copy of the arguments of one call; nothing in it changes any more.

    ``shown``: what is recorded of them under their names. ``is_entry``: whether the run is started again by this call,
    so that everything is captured that can be; else only tables and arrays are kept.
    """

    is_entry: bool
    shown: dict[str, Any] = field(default_factory=dict)
    payloads: dict[str, Payload] = field(default_factory=dict)
    trees: dict[str, Tree] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    generators: dict[str, Tree] = field(default_factory=dict)
    tensors: list[TensorData] = field(default_factory=list)

    @classmethod
    def of(cls, arguments: Mapping[str, Any], *, hidden: tuple[str, ...] = (), is_entry: bool) -> CapturedCall:
        """Copy the arguments; those that are ``hidden`` (``self``) are not shown. Takes as long as copying takes."""
        found = cls(is_entry)
        capturing = Capturing(found.tensors, max_bytes=MAX_BYTES, allow_pickle=True)
        for name, value in arguments.items():
            if name not in hidden:
                found.shown[name] = masked(name, value)
            if (payload := payload_of(value, max_bytes=MAX_BYTES)) is not None and not is_secret_name(name, value):
                found.payloads[name] = payload
                found.shown[name] |= {"hash": payload.digest}
            elif is_entry:
                found._take(capturing, name, value)
        if is_entry:
            found.generators = capture_generators(found.tensors)
        return found

    def _take(self, capturing: Capturing, name: str, value: Any) -> None:
        if is_secret_name(name, value):
            self.missing[name] = "holds a secret, which is not recorded"
            return
        try:
            self.trees[name] = capturing.take(value, name, refuse_secrets=True)
        except Uncapturable as exc:
            self.missing[name] = mask_text(str(exc))
        except Exception as exc:  # noqa: BLE001  an object that cannot be looked at; the others are kept all the same
            self.missing[name] = f"cannot be looked at: {type(exc).__name__}"

    def write(self, store: Store, run: str, attempt: str) -> Invocation:
        """Store the call, its document last. Blocks; made for a thread of its own."""
        parts = self.trees | {f"generator.{kind}": tree for kind, tree in self.generators.items()}
        document = Invocation(
            run=run,
            attempt=attempt,
            arguments=self.trees,
            kept={
                name: Kept(type=each.type, object=each.digest, size_bytes=len(each.data))
                for name, each in self.payloads.items()
            },
            missing=self.missing,
            generators=self.generators,
            pickled=tuple(path for name, tree in self.trees.items() for path in pickled_paths(tree, name)),
        )

        def store_payloads() -> list[str]:
            stored = [store_object(store, each.data) for each in self.payloads.values()]
            return [digest for digest, is_new in stored if not is_new]

        def publish(stored: StoredState) -> None:
            nonlocal document
            document = msgspec.structs.replace(document, tensors=stored.tensors, rests_on=stored.rests_on)
            store.put(keys.attempt_document(run, attempt, "invocation"), encode(document))

        publish_state(store, State(parts, self.tensors), None, publish, further=store_payloads)
        return document


def read_invocation(store: Store, run: str, attempt: str) -> Invocation:
    """How the function of this attempt was called; ``KeyNotFound`` where it was not recorded."""
    key = keys.attempt_document(run, attempt, "invocation")
    return decode(store.get(key), Invocation, key=key)


def load_arguments(store: Store, invocation: Invocation, *, trust: bool = False) -> dict[str, Any]:
    """The arguments by name. ``Untrusted`` where one is a pickle and ``trust`` is not given."""
    restoring = Restoring(StoredTensors(TensorReader(store), invocation.tensors), trust=trust)
    found = {name: restoring.give(tree, name=name) for name, tree in invocation.arguments.items()}
    return found | {
        name: read_payload(kept.type, get_object(store, kept.object)) for name, kept in invocation.kept.items()
    }


def set_generators(store: Store, invocation: Invocation) -> None:
    """Put Python's, NumPy's and PyTorch's random generators where they were as the function was called."""
    restore_generators(invocation.generators, StoredTensors(TensorReader(store), invocation.tensors))


def spread(signature: inspect.Signature, named: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of a call, from those by name."""
    left, args = dict(named), []
    kinds = {name: each.kind for name, each in signature.parameters.items()}
    variadic = next((name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_POSITIONAL), None)
    rest = left.pop(variadic, ()) if variadic is not None else ()
    for name, kind in kinds.items():
        goes_before = bool(rest) and kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        if name in left and (goes_before or kind is inspect.Parameter.POSITIONAL_ONLY):
            args.append(left.pop(name))
    return [*args, *rest], left


def masked(name: str, value: Any) -> Any:
    """A value as it may be recorded under this name: a secret masked, and described where it is no plain value."""
    return MASK if is_secret_name(name, value) else shown(value)


def shown(value: Any) -> Any:
    """A value that a record can hold: itself where it is plain and short, else what can be said of it."""
    value = plain(value)
    if type(value) is str:
        text = mask_text(value)
        return text if len(text) <= _MAX_SHOWN_CHARS else text[: _MAX_SHOWN_CHARS - 1] + "…"
    if type(value) is bytes:
        return mask_value(value) if len(value) <= _MAX_SHOWN_CHARS else describe(value)
    if type(value) in PLAIN_TYPES:
        return value if type(value) is not int or value.bit_length() <= 3 * _MAX_SHOWN_CHARS else describe(value)
    return mask_value(describe(value))
