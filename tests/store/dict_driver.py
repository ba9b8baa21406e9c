"""A server in memory, of which tests see every request."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import md5

from tracker.errors import KeyExists, KeyNotFound
from tracker.store.base import Info
from tracker.store.remote import RemoteStore
from tracker.store.retry import RetryPolicy, Transient

WRITTEN = 1_700_000_000.0  # Unix seconds


class DictDriver:
    """Keys in a dict. ``disorder`` shuffles its listings, ``by_folders`` sorts them as folders are sorted; ``failures``
    of them break behind ``fail_after`` keys; ``etags``: listings tell the MD5 of each key.
    """

    tokens = False
    resumes = True

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.listed: list[str] = []  # the place behind which each listing began
        self.told = 0  # keys that listings have given
        self.put_keys: list[str] = []
        self.got_keys: list[str] = []
        self.disorder = self.etags = self.by_folders = False
        self.failures = self.fail_after = 0

    def get(self, key: str) -> bytes:
        if key not in self.keys:
            raise KeyNotFound(key)
        self.got_keys.append(key)
        return self.keys[key]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self.get(key)[start : start + length]

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        return self.get(key)[-length:], len(self.get(key))

    def put(self, key: str, data: bytes | memoryview, *, only_new: bool, token: str) -> None:
        if only_new and key in self.keys:
            raise KeyExists(key)
        self.keys[key] = bytes(data)
        self.put_keys.append(key)

    def delete(self, keys: list[str]) -> None:
        for key in keys:
            self.keys.pop(key, None)

    def list(self, prefix: str, after: str) -> Iterator[Info]:
        self.listed.append(after)
        found = sorted(key for key in self.keys if key.startswith(prefix) and self._place(key) > self._place(after))
        if self.by_folders:
            found.sort(key=self._place)
        if self.disorder:
            random.Random(1).shuffle(found)
        for number, key in enumerate(found):
            if self.failures and number == self.fail_after:
                self.failures -= 1
                raise Transient("cut off")
            self.told += 1
            yield Info(key, len(self.keys[key]), WRITTEN, md5(self.keys[key]).hexdigest() if self.etags else "")

    def _place(self, key: str) -> list[str]:
        """By what keys are sorted."""
        return key.split("/") if self.by_folders else [key]

    def folders(self, prefix: str, after: str) -> Iterator[str]:
        rests = (key[len(prefix) :] for key in self.keys if key.startswith(prefix))
        yield from sorted({rest.split("/", 1)[0] for rest in rests if "/" in rest})

    def info(self, key: str) -> Info:
        if key not in self.keys:
            raise KeyNotFound(key)
        return Info(key, len(self.keys[key]), WRITTEN)

    def token(self, key: str) -> str | None:
        return None


def remote(driver: DictDriver, name: str = "dict://keys") -> RemoteStore:
    """A store over a driver, as it is when it has been opened."""
    policy = RetryPolicy(attempts=3, total_s=5.0, first_pause_s=0.0, longest_pause_s=0.0)
    return RemoteStore(name, lambda: driver, address=name, policy=policy).settled(conditional_put=True)
