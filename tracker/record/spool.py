"""The spool: where journals wait on this machine until a remote store has their segments."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from tracker.config import Settings
from tracker.errors import StoreReadOnly
from tracker.store import durable
from tracker.store.base import Store, address_of
from tracker.store.local import LocalStore

_NOTE = "store-url"


@dataclass(frozen=True)
class Spool:
    """What waits on this machine for one store: the store's URL without its credentials, and its address, which also
    says on which server it is.
    """

    url: str
    address: str
    folder: LocalStore


def spool_for(store: Store, settings: Settings) -> Store:
    """Where the journals of runs in ``store`` lie: the store itself when it is a folder of this machine, else a folder
    of its own.
    """
    if store.local_path("runs") is not None:
        return store
    waits_for = f"{store.url}\n{address_of(store)}\n".encode()
    folder = spool_root(settings) / blake3(waits_for).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (folder / _NOTE).exists():
            durable.write(folder / _NOTE, waits_for)
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
        return without_home() / "spool"


def without_home() -> Path:
    """The user's own folder where everybody may make folders: one that somebody else has prepared is refused. One in
    which others could only read, as earlier versions made it, becomes the user's alone.
    """
    folder = Path(tempfile.gettempdir()) / f"hindsight-{os.getuid()}"
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
        if is_own and found.st_mode & 0o077:
            _close_to_others(folder)
    except OSError as exc:
        problem = exc.strerror or str(exc)
    else:
        if is_own:
            return folder
        problem = "it is not this user's alone"
    raise StoreReadOnly(
        f"{folder}, where records wait for remote stores, cannot be used: {problem}; if all that lies there is yours, "
        f"`chmod 700 {folder}` makes it so, else choose another folder (setting spool, or HINDSIGHT_SPOOL)"
    )


def _close_to_others(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def spools(settings: Settings) -> list[Spool]:
    """All spools of this machine's user."""
    found = []
    for note in sorted(spool_root(settings).glob(f"*/{_NOTE}")):
        url, address, *_ = [*note.read_text().split("\n"), ""]
        found.append(Spool(url, address or "a server that was not noted", LocalStore(note.parent)))
    return found
