"""Connection type ``hindsight``: where the store is, and what opens it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.providers.common.compat.sdk import BaseHook
from tracker.decorators.airflow import DEFAULT_CONN_ID, configured_store, store_of_connection

from tracker.config import load_settings
from tracker.errors import InputError
from tracker.store.base import Store
from tracker.store.open import open_store


class HindsightHook(BaseHook):  # type: ignore[misc]
    """Opens the store that a connection names.

    Without a name it is ``HINDSIGHT_STORE``, what ``[hindsight]`` in Airflow's configuration says, or the connection
    ``hindsight_default``.
    """

    conn_name_attr = "hindsight_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "hindsight"
    hook_name = "Hindsight"

    def __init__(self, hindsight_conn_id: str | None = None) -> None:
        super().__init__()
        self.hindsight_conn_id = hindsight_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """What the form of a connection shows."""
        example = '{"aws_conn_id": "aws_default", "storage_options": {}}'
        return {
            "hidden_fields": ["port", "schema", "login", "password"],
            "relabeling": {"host": "Store (folder or URL)"},
            "placeholders": {"host": "s3://bucket/hindsight", "extra": example},
        }

    @cached_property
    def address(self) -> tuple[str, dict[str, Any]]:
        """URL and options of the store."""
        if self.hindsight_conn_id is not None:
            return store_of_connection(self.get_connection(self.hindsight_conn_id))
        settings = load_settings(overrides=configured_store())
        if not settings.store:
            raise InputError(
                f"no store is configured: make a connection {DEFAULT_CONN_ID} of type hindsight, or set HINDSIGHT_STORE"
            )
        return settings.store, settings.storage_options

    def get_conn(self) -> Store:
        """The store, which is made where there is none yet."""
        url, options = self.address
        return open_store(url, storage_options=options)

    def test_connection(self) -> tuple[bool, str]:
        """Write, list, read and delete in the store: what the Test button does."""
        from tracker.store.doctor import examine

        try:
            url, options = self.address
            checks = examine(url, options)
        except Exception as exc:  # noqa: BLE001  told on the page
            return False, f"{type(exc).__name__}: {exc}"
        bad = [check for check in checks if check.needed and not check.ok]
        return not bad, "; ".join(f"{check.name}: {check.detail}" for check in bad) or f"{url} can be used"


def open_given(url: str | None, hindsight_conn_id: str | None = None) -> tuple[Store, dict[str, Any]]:
    """The store at this address, or that of the connection, and the options that reach it."""
    place, options = address_given(url, hindsight_conn_id)
    return open_store(place, storage_options=options, create=not url), options


def address_given(url: str | None, hindsight_conn_id: str | None = None) -> tuple[str, dict[str, Any]]:
    """An address with the options that reach it; without one, that of the connection or the configuration.

    A store on the same kind of storage is reached with the connection's options: they are never part of an address.
    """
    hook = HindsightHook(hindsight_conn_id)
    if not url:
        return hook.address
    try:
        known, options = hook.address
    except Exception:
        if hindsight_conn_id is not None:
            raise
        known, options = "", {}
    same = hindsight_conn_id is not None or url.partition("://")[0] == known.partition("://")[0]
    return url, options if same else {}
