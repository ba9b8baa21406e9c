"""The spool: where journals wait on this machine until a remote store has their segments."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from blake3 import blake3

from tracker.config import Settings
from tracker.errors import StoreReadOnly
from tracker.store import durable
from tracker.store.base import Store
from tracker.store.local import LocalStore


def spool_for(store: Store, settings: Settings) -> Store:
    """Where the journals of runs in ``store`` lie: the store itself when it is a folder of this machine, else a folder
    of its own.
    """
    if store.local_path("runs") is not None:
        return store
    folder = spool_root(settings) / blake3(store.url.encode()).hexdigest()[:16]
    note = folder / "store-url"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not note.exists():
            durable.write(note, store.url.encode())
    except OSError as exc:
        raise StoreReadOnly(
            f"the spool {folder}, where records wait for {store.url}, cannot be made: {exc.strerror or exc}; "
            "choose another folder on a disk of this machine (setting spool, or HINDSIGHT_SPOOL)"
        ) from exc
    return LocalStore(folder)


def spool_root(settings: Settings) -> Path:
    """The folder of all spools: the setting ``spool``, else ``hindsight/spool`` in the user's state folder."""
    if settings.spool:
        return Path(settings.spool).expanduser()
    state = os.environ.get("XDG_STATE_HOME")
    if state:
        return Path(state) / "hindsight" / "spool"
    try:
        return Path.home() / ".local" / "state" / "hindsight" / "spool"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / f"hindsight-{os.getuid()}" / "spool"


def spools(settings: Settings) -> list[tuple[str, Store]]:
    """All spools of this machine's user: the URL of the store that each one waits for, and the spool."""
    found: list[tuple[str, Store]] = []
    root = spool_root(settings)
    for note in sorted(root.glob("*/store-url")):
        found.append((note.read_text(), LocalStore(note.parent)))
    return found
