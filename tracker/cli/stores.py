"""The store that a command is about."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracker.config import Settings
    from tracker.store.base import Store


def open_for_reading(url: str | None, storage_options: dict[str, Any] | None = None) -> Store:
    """The store given by ``--store``, else that of the settings; never created here."""
    from tracker.record.lifecycle import default_store

    return default_store(url, storage_options)


def given_options(text: str | None) -> dict[str, Any] | None:
    """Storage options as a JSON object, or as the name of a variable that holds one; the value is never repeated."""
    import msgspec

    from tracker.errors import BadSetting
    from tracker.secrets import MASK

    if text is None:
        return None
    is_object = text.lstrip().startswith("{")
    where = "the given text" if is_object else f"the variable {text if text.isidentifier() else MASK}"
    value = text if is_object else os.environ.get(text)
    expected = 'expected a JSON object such as {"anon": true}, or the name of a variable that holds one'
    if value is None:
        raise BadSetting(f"{where} is not set: {expected}")
    try:
        return msgspec.json.decode(value, type=dict[str, Any])
    except msgspec.MsgspecError as exc:
        raise BadSetting(f"{where} cannot be read ({exc}): {expected}") from None


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
