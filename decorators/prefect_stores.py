"""Which store a flow of ours works on, and how it is reached, without secrets among the parameters of a flow run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tracker.code.project import project_root
from tracker.config import load_settings
from tracker.record.stores import resolve_store
from tracker.store.base import Store
from tracker.store.open import open_store

BLOCK_VARIABLE = "HINDSIGHT_PREFECT_BLOCK"
_at_hand: ContextVar[Store | None] = ContextVar("hindsight_store", default=None)
_options_at_hand: ContextVar[Mapping[str, Any] | None] = ContextVar("hindsight_options", default=None)


def open_given(url: str | None = None, block: str | None = None) -> tuple[Store, dict[str, Any]]:
    """The store of a block, else the one at this address, else that of the settings; and the options that reach it."""
    handed, options = _at_hand.get(), _options_at_hand.get()
    if handed is not None and url in (None, handed.url):
        return handed, dict(options or {})
    block = block or os.environ.get(BLOCK_VARIABLE)
    if block and (url is None or "://" in url):
        from tracker.decorators.prefect_blocks import load_block

        found = load_block(block)
        if url is None or url.partition("://")[0] == found.url.partition("://")[0]:
            options = found.settings()["storage_options"]
            return open_store(url or found.url, storage_options=options, create=False), dict(options)
    settings = load_settings(project_root(), overrides={"store": url})
    return resolve_store(settings, create=False), dict(settings.storage_options)


@contextmanager
def hand_over(store: Store, options: Mapping[str, Any] | None) -> Iterator[None]:
    """While this lasts, flows in this context work on a store that is open already."""
    tokens = _at_hand.set(store), _options_at_hand.set(options)
    try:
        yield
    finally:
        _at_hand.reset(tokens[0])
        _options_at_hand.reset(tokens[1])


def configured_store() -> dict[str, Any]:
    """What `Place.settings` says: the block that the environment names, where it names no store itself."""
    block = os.environ.get(BLOCK_VARIABLE)
    if not block or os.environ.get("HINDSIGHT_STORE"):
        return {}
    from tracker.decorators.prefect_blocks import load_block

    return load_block(block).settings()
