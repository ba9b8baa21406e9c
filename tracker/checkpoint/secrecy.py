"""Whether an argument that is to be kept shows a secret; asked of every part of it, also of what pickle writes."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice
from types import FunctionType, ModuleType
from typing import Any

from tracker.checkpoint.instances import attributes
from tracker.errors import Uncapturable
from tracker.secrets import is_secret_name, mask_text

_MAX_BYTES = 1 << 16  # longer ones are data: looking for a key in them would take long, and find one by chance
_NEVER = (int, float, complex, type, FunctionType, ModuleType)
_CREDENTIAL = re.compile(r"[^<\[\s](?:\S{19,}|(?=\S*\d)\S{5,})")
"""What a text looks like that opens something; words and special tokens of a text's own, such as ``<pad>``, do not."""
_LOOKED_AT = 1000  # items of one container
_BARE = {dict, list, tuple, set, frozenset}
_SECRET_KINDS = {"pydantic": "Secret", "pydantic_settings": "Secret", "prefect": "Block"}
"""Package -> what the name of a class in it has that keeps credentials, also where nothing in an instance looks so."""


def refuse_secret(value: Any, path: str) -> None:
    """``Uncapturable`` where this value shows a secret; its items are values of their own."""
    if _holds_secret(value):
        raise Uncapturable(path, type(value).__name__, "holds a secret, which is not recorded")


class _Looking(pickle.Pickler):
    """Is asked for a name of every object that it writes, and has none."""

    path = ""

    def persistent_id(self, part: Any) -> None:
        refuse_secret(part, self.path)


def pickled_without_secrets(value: Any, path: str) -> bytes:
    """The value's pickle; ``Uncapturable`` where something that goes into it shows a secret."""
    buffer = io.BytesIO()
    looking = _Looking(buffer, protocol=5)
    looking.path = path
    looking.dump(value)
    return buffer.getvalue()


def _holds_secret(value: Any) -> bool:
    if isinstance(value, str):
        return mask_text(value) != value
    if isinstance(value, bytes | bytearray):
        return len(value) <= _MAX_BYTES and _holds_secret(value.decode("latin-1"))
    if value is None or isinstance(value, _NEVER):
        return False
    if isinstance(value, dict) and any(_holds_secret(key) for key in list(value) if isinstance(key, str | bytes)):
        return True
    return _keeps_secrets(type(value).__mro__) or any(_is_secret(name, item) for name, item in _named(value))


def _named(value: Any) -> Iterable[tuple[Any, Any]]:
    """What a value holds by name: items, fields and attributes. Nothing of the value's own is called."""
    if isinstance(value, dict):
        yield from list(value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=False)
    elif isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[0], str):
        yield value[0], value[1]  # a header: ("Authorization", "…")
    if type(value) not in _BARE:
        yield from attributes(value)


def _is_secret(name: Any, value: Any) -> bool:
    name = name.decode("latin-1") if isinstance(name, bytes) else name
    if not isinstance(name, str) or not is_secret_name(name, value):
        return False
    return _could_be_one(
        value, is_certain=is_secret_name(name, 0)
    )  # else a name such as `token`, which has two meanings


def _could_be_one(value: Any, *, is_certain: bool) -> bool:
    """Numbers, arrays and empty places are no secrets; under a name of two meanings a word is a word."""
    if isinstance(value, str | bytes):
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        return bool(text) and (is_certain or _CREDENTIAL.fullmatch(text) is not None)
    if isinstance(value, Mapping | tuple | list | set | frozenset):
        items = value.values() if isinstance(value, Mapping) else value
        return any(_could_be_one(item, is_certain=is_certain) for item in islice(items, _LOOKED_AT))
    is_array = hasattr(type(value), "shape") and hasattr(type(value), "dtype")  # weights may be called `class_token`
    return is_certain and value is not None and not isinstance(value, _NEVER) and not is_array


@lru_cache(maxsize=1024)
def _keeps_secrets(bases: tuple[type, ...]) -> bool:
    """Whether one of these is a class of those packages."""
    marks = ((_SECRET_KINDS.get(base.__module__.partition(".")[0]), base.__name__) for base in bases)
    return any(mark is not None and mark in name for mark, name in marks)
