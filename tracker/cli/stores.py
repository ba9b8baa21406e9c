"""The store that a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracker.config import Settings
    from tracker.store.base import Store


def open_for_reading(url: str | None) -> Store:
    """The store given by ``--store``, else that of the settings; never created here."""
    from tracker.record.lifecycle import default_store

    return default_store(url)


def settings_here() -> Settings:
    """The settings in force in the working directory."""
    from tracker.code.project import project_root
    from tracker.config import load_settings

    return load_settings(project_root())


def address(url: str | None) -> str:
    """The address of the store that is meant, whether there is one or not."""
    from tracker.code.project import project_root
    from tracker.config import DEFAULT_STORE

    return url or settings_here().store or str(project_root() / DEFAULT_STORE)
