"""From the address of a store to the store: one registry line per back end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from tracker.errors import BadSetting
from tracker.store.base import Store
from tracker.store.format import ensure_format, require_format, settle
from tracker.store.local import LocalStore
from tracker.store.memory import MemoryStore
from tracker.store.retry import RetryPolicy

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<rest>.*)", re.DOTALL)

Options = Mapping[str, Any]


def open_store(
    url: str | os.PathLike[str],
    *,
    storage_options: Options | None = None,
    create: bool = True,
    retry: RetryPolicy | None = None,
) -> Store:
    """The store at an address: a folder, ``file:``, ``memory:``, ``s3://bucket/prefix``, or any other fsspec URL.

    Where there is no store yet, ``create=True`` makes one (``format.json``); ``create=False`` is for reading, never
    writes, and raises ``NotFound``. ``NewerFormat`` when a newer version wrote the store, ``StoreUnavailable`` when
    nothing answers within seconds. ``storage_options`` go to the back end, as in fsspec; ``retry`` bounds how long a
    remote one is tried (by default more patiently once it is open).

    >>> store = open_store("memory://example")
    >>> store.put("objects/note", b"hello")
    >>> store.get("objects/note")
    b'hello'
    """
    store = connect(url, storage_options=storage_options, retry=retry)
    found = ensure_format(store) if create else require_format(store)
    return settle(store, found)


def connect(
    url: str | os.PathLike[str], *, storage_options: Options | None = None, retry: RetryPolicy | None = None
) -> Store:
    """The back end for an address, without looking whether a store is there; nothing is sent yet."""
    text = os.fspath(url)
    if not isinstance(text, str) or not text.strip():
        raise BadSetting(
            f"{text!r} is not the address of a store: expected a folder or a URL such as s3://bucket/prefix"
        )
    match = _SCHEME.fullmatch(text)
    if match is None:
        return LocalStore(os.path.expanduser(text))
    opener = BACK_ENDS.get(match["scheme"].lower(), _open_any)
    return opener(text, storage_options or {}, retry)


def _open_file(url: str, options: Options, retry: RetryPolicy | None) -> Store:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise BadSetting(
            f"{url!r} names the host {parts.netloc!r}: write file:///folder with three slashes, or a plain path"
        )
    return LocalStore(unquote(parts.path) or ".")


def _open_memory(url: str, options: Options, retry: RetryPolicy | None) -> Store:
    return MemoryStore(url.partition(":")[2].strip("/"))


def _open_s3(url: str, options: Options, retry: RetryPolicy | None) -> Store:
    from tracker.store.s3 import open_s3

    return open_s3(url, options, retry)


def _open_any(url: str, options: Options, retry: RetryPolicy | None) -> Store:
    from tracker.store.any_fsspec import open_any

    return open_any(url, options, retry)


BACK_ENDS: dict[str, Callable[[str, Options, RetryPolicy | None], Store]] = {
    "file": _open_file,
    "local": _open_file,
    "memory": _open_memory,
    "s3": _open_s3,
    "s3a": _open_s3,
}
