"""Why a store does not work: each verb is tried, and what fails comes with its remedy."""

from __future__ import annotations

import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracker.errors import HindsightError, KeyExists, MissingExtra, StoreFull, StoreReadOnly, StoreUnavailable
from tracker.store.base import Store
from tracker.store.format import Probed, read_format
from tracker.store.local import LocalStore
from tracker.store.open import connect

_PAYLOAD = b"0123456789"
_ROUNDS = 5
_READ_TIMEOUT_S = 8.0  # a listing may be tried six times


@dataclass(frozen=True)
class Check:
    """One verb that was tried: whether it works, what was seen, and what to do when it does not."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    needed: bool = True  # a store works, with a limit that ``detail`` names, when this one fails


class _Failed(Exception):
    """The verb answered, but not as it should."""


def examine(url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> list[Check]:
    """Try connect, list, put, get, range, create, delete and the time they take, and say how to repair what fails.

    Writes a few bytes below ``.probe/`` and removes them; creates no store. Verbs that depend on one that failed are
    left out. Blocks for a minute at the most when nothing answers.
    """
    try:
        store = connect(url, storage_options=_impatient(url, storage_options or {}))
    except HindsightError as exc:
        return [_failed("connect", exc)]
    created = _missing_folders(store)
    try:
        return list(_checks(store))
    finally:
        _remove_folders(store, created)


def _impatient(url: str | os.PathLike[str], options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options, with less patience for a server that takes a request and never answers, unless they ask for some."""
    if not os.fspath(url).lower().startswith(("s3:", "s3a:")):
        return options
    return {**options, "config_kwargs": {"read_timeout": _READ_TIMEOUT_S, **(options.get("config_kwargs") or {})}}


def _checks(store: Store) -> Iterator[Check]:
    key, is_left = f".probe/{secrets.token_hex(8)}", False
    try:
        for check in _tries(store, key):
            is_left = check.name == "put" or (is_left and not (check.name == "delete" and check.ok))
            yield check
    finally:
        if is_left:
            with suppress(HindsightError):
                store.delete([key, f"{key}-created"])


def _tries(store: Store, key: str) -> Iterator[Check]:
    steps: list[tuple[str, Callable[[], str]]] = [
        ("list", lambda: f"{len(store.folders())} folders"),
        ("format", lambda: _format(store)),
        ("put", lambda: _put(store, key)),
        ("get", lambda: _get(store, key)),
        ("range", lambda: _range(store, key)),
        ("listed", lambda: _listed(store, key)),
    ]
    for name, step in steps:
        yield (check := _tried(name, step))
        if not check.ok:
            return
    yield _create(store, key)
    yield _tried("latency", lambda: _latency(store, key))
    yield _tried("delete", lambda: _delete(store, key))


def _tried(name: str, step: Callable[[], str]) -> Check:
    try:
        return Check(name, True, step())
    except (HindsightError, _Failed) as exc:
        return _failed(name, exc)


def _failed(name: str, exc: Exception) -> Check:
    return Check(name, False, str(exc), _FIXES.get(type(exc), "correct the address or the storage options"))


_FIXES: dict[type[Exception], str] = {
    StoreReadOnly: "give this user the right to list, read, write and delete there, or renew the credentials",
    StoreFull: "free some space or raise the quota",
    StoreUnavailable: "check the address (endpoint_url, bucket, mount), the server, and the way to it (proxy, VPN)",
    MissingExtra: "install what the message names",
    _Failed: "this server does not keep what S3 promises; use another one, or report its name and version",
}


def _format(store: Store) -> str:
    found = read_format(store)
    return "no store yet; the first run creates it" if found is None else f"format {found.format}, by {found.writer}"


def _put(store: Store, key: str) -> str:
    store.put(key, b"first")
    store.put(key, _PAYLOAD)
    return f"{len(_PAYLOAD)} bytes written and replaced"


def _get(store: Store, key: str) -> str:
    return _expect(store.get(key), _PAYLOAD, "reading a key that was just written")


def _range(store: Store, key: str) -> str:
    return _expect(store.get_range(key, 3, 4), _PAYLOAD[3:7], "reading bytes 3 to 6 of ten")


def _expect(found: bytes, expected: bytes, what: str) -> str:
    if found != expected:
        raise _Failed(f"{what} gave {found!r}, expected {expected!r}")
    return f"{len(found)} bytes as written"


def _listed(store: Store, key: str) -> str:
    if key not in [info.key for info in store.list(".probe/")]:
        raise _Failed("a key that was just written is not listed")
    return "a new key is listed at once"


def _create(store: Store, key: str) -> Check:
    other = f"{key}-created"
    try:
        if isinstance(store, Probed):
            works = store.probe()
        else:
            store.create(other, _PAYLOAD)
            works = _refuses(store, other)
    except HindsightError as exc:
        return _failed("create", exc)
    if works:
        return Check("create", True, "a second create-only put is refused")
    return Check(
        "create",
        False,
        "the server ignores the condition of a create-only put: runs are safe, because their keys are unique, but two "
        "processes that start the same launch at the same instant may become two runs",
        "use a server with conditional puts (AWS S3, Ceph, MinIO), or set HINDSIGHT_RUN_ID for retried launches",
        needed=False,
    )


def _refuses(store: Store, key: str) -> bool:
    try:
        store.create(key, b"second")
    except KeyExists:
        return store.get(key) == _PAYLOAD
    return False


def _latency(store: Store, key: str) -> str:
    put = statistics.median(_timed(lambda: store.put(key, _PAYLOAD)) for _ in range(_ROUNDS))
    get = statistics.median(_timed(lambda: store.get(key)) for _ in range(_ROUNDS))
    return f"put {put * 1000:.1f} ms, get {get * 1000:.1f} ms (medians of {_ROUNDS})"


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _delete(store: Store, key: str) -> str:
    store.delete([key, f"{key}-created"])
    if any(info.key == key for info in store.list(".probe/")):
        raise _Failed("a deleted key is still listed")
    return "a deleted key is gone"


def _missing_folders(store: Store) -> list[Path]:
    """Folders that trying to write will create, innermost first."""
    if not isinstance(store, LocalStore):
        return []
    folders = [store.root / ".probe", store.root, *store.root.parents]
    return [folder for folder in folders if not folder.exists()]


def _remove_folders(store: Store, folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return  # not created, or in use by now
