"""``format.json``: which format a store has, and whether its server keeps create-only puts apart."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

import msgspec

from tracker.errors import KeyExists, KeyNotFound, NewerFormat, NotFound
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import FORMAT_NUMBER, Format, decode, encode


@runtime_checkable
class Probed(Protocol):
    """A store whose server must be asked whether it keeps create-only puts apart."""

    address: str

    def probe(self) -> bool:
        """Whether a second create-only put is refused, found out by trying."""

    def settled(self, *, conditional_put: bool) -> Store:
        """The store for use, knowing that."""


def read_format(store: Store) -> Format | None:
    """The format of a store, ``None`` where there is no store, ``NewerFormat`` where this version cannot read it."""
    try:
        data = store.get(keys.FORMAT)
    except KeyNotFound:
        return None
    found = decode(data, Format, key=f"{keys.FORMAT} of {store.url}")
    if found.format > FORMAT_NUMBER:
        raise NewerFormat(
            f"{store.url} has format {found.format}, written by {found.writer}; this version reads formats up to "
            f"{FORMAT_NUMBER}: upgrade with `pip install -U hindsight-tracker`"
        )
    return found


def require_format(store: Store) -> Format:
    """The format of a store that must exist; never writes."""
    found = read_format(store)
    if found is None:
        raise NotFound(
            f"there is no store at {store.url} (no {keys.FORMAT}): check the address; "
            "a store appears with the first run that is recorded into it"
        )
    return found


def ensure_format(store: Store) -> Format:
    """The format of a store, created where there is none; of several processes that create it, one writes.

    ``conditional_put`` in the answer is what holds here and now: a store that was
    copied to another server is probed again.
    """
    found = read_format(store)
    if found is not None and (not isinstance(store, Probed) or found.probed_at == store.address):
        return found
    conditional, address = (store.probe(), store.address) if isinstance(store, Probed) else (store.conditional_put, "")
    if found is not None:
        return msgspec.structs.replace(found, conditional_put=conditional, probed_at=address)
    mine = Format(created=time.time(), writer=_writer(), conditional_put=conditional, probed_at=address)
    try:
        store.create(keys.FORMAT, encode(mine))
    except KeyExists:
        return require_format(store)
    return mine


def settle(store: Store, found: Format) -> Store:
    """The store as it is used from now on, once its format is known."""
    return store.settled(conditional_put=found.conditional_put) if isinstance(store, Probed) else store


def _writer() -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and needed once per store

    try:
        return f"hindsight {version('hindsight-tracker')}"
    except PackageNotFoundError:
        return "hindsight (not installed)"
