"""A process that dies at a chosen one of the changes that it makes in a store."""

from __future__ import annotations

from collections.abc import Iterable

from tracker.store.local import LocalStore


class Dying(LocalStore):
    """Makes ``left`` more changes, and then none."""

    left = 10**6

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write a key, or die."""
        self._live()
        super().put(key, data)

    def create(self, key: str, data: bytes | memoryview) -> None:
        """Write a new key, or die."""
        self._live()
        super().create(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove keys one by one, or die before one of them."""
        for key in keys:
            self._live()
            super().delete([key])

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
