"""The block ``Hindsight Store``: where runs are recorded, kept by Prefect with what is needed to get there."""

from __future__ import annotations

from typing import Any

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import Field

from tracker.store.base import Store
from tracker.store.open import open_store


class HindsightStore(Block):  # type: ignore[misc]
    """A store and the options that reach it; the options are secret.

    ``HINDSIGHT_PREFECT_BLOCK=prod`` lets every ``@tracked`` flow and task record into the block of that name, where
    neither ``HINDSIGHT_STORE`` nor the decorator names a store.

    ::

        HindsightStore(url="s3://bucket/store", storage_options={"key": …, "secret": …}).save("prod")

        @tracked(**HindsightStore.load("prod").settings())
        @flow
        def train(): ...
    """

    _block_type_name = "Hindsight Store"
    _block_type_slug = "hindsight-store"
    _description = "Where Hindsight keeps runs: a folder, or a prefix of an object store."

    url: str = Field(description="A folder, or an address such as s3://bucket/prefix.")
    storage_options: SecretDict = Field(
        default_factory=lambda: SecretDict({}), description="What fsspec needs to get there, such as key and secret."
    )

    def settings(self) -> dict[str, Any]:
        """Keywords for ``tracked``, ``tracker.init`` and ``tracker.dataframe``."""
        return {"store": self.url, "storage_options": dict(self.storage_options.get_secret_value())}

    def open(self, *, create: bool = False) -> Store:
        """The store; ``NotFound`` where there is none and ``create`` is not given."""
        return open_store(self.url, storage_options=dict(self.storage_options.get_secret_value()), create=create)


def load_block(name: str) -> HindsightStore:
    """The block of this name, from sync and async code alike."""
    found: HindsightStore = HindsightStore.load(name, _sync=True)
    return found
