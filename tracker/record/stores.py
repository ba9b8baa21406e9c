"""The store that a run writes to, by its settings."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

from tracker.code.project import project_root
from tracker.config import DEFAULT_STORE, Settings
from tracker.errors import BadSetting, Corrupt, StoreUnavailable
from tracker.store.base import Store
from tracker.store.format import ensure_format, settle
from tracker.store.open import connect, open_store


def resolve_store(settings: Settings, root: Path | None = None, *, create: bool) -> Store:
    """The store of the settings; by default the folder ``.hindsight`` in the project, which ignores itself in git."""
    if settings.store:
        return open_store(settings.store, storage_options=settings.storage_options, create=create)
    folder = (root or project_root()) / DEFAULT_STORE
    store = open_store(folder, create=create)
    if create and not (folder / ".gitignore").exists():
        with suppress(OSError):
            (folder / ".gitignore").write_text("*\n")
    return store


def connect_offline(settings: Settings) -> Store:
    """A remote store that does not answer, whose records can wait in the spool; those of a folder cannot.

    The first write that reaches it opens it, or makes it where there is none: it is never without its format.
    """
    from tracker.store.remote import RemoteStore

    store = connect(settings.store, storage_options=settings.storage_options)
    if store.local_path("runs") is not None:
        raise BadSetting(f"{store.url} is a folder of this machine, nothing waits for it elsewhere")
    if isinstance(store, RemoteStore):
        opened = connect(settings.store, storage_options=settings.storage_options)
        store.before_writing = partial(_open, store, opened)
    return store


def _open(store: Store, same: Store) -> None:
    """Settle a store by what is found through another connection to it; threads may do so at once."""
    try:
        found = ensure_format(same)
    except Corrupt as exc:  # a newer version's, for instance: what is recorded waits
        raise StoreUnavailable(str(exc)) from exc
    settle(store, found)
