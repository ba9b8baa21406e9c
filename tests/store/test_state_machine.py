"""A store beside a plain dictionary: whatever is done in whatever order, they agree."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.servers import Server
from tracker.errors import KeyExists, KeyNotFound
from tracker.store.base import Store
from tracker.store.open import open_store

# Names of folders and of files differ, because a file system cannot hold both a and a/b.
FOLDERS = st.sampled_from(["runs/", "runs/ä b/", "runs/ä b/data/epoch.step/", "objects/00/", "code/", ""])
FILES = st.sampled_from(["x.json", "x-1.json", "X.json", "y%2E.parquet", "é", "0" * 64])
KEYS = st.builds(lambda folder, file: folder + file, FOLDERS, FILES)
DATA = st.binary(max_size=300) | st.binary(min_size=1, max_size=4).map(lambda seed: seed * 50_000)


class StoreMachine(RuleBasedStateMachine):
    """Every verb, in any order, with a second opener of the same store now and then."""

    def new_store(self) -> Store:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.store = self.new_store()
        self.model = {"format.json": self.store.get("format.json")}

    @rule(key=KEYS, data=DATA)
    def put(self, key: str, data: bytes) -> None:
        self.store.put(key, memoryview(data))
        self.model[key] = data

    @rule(key=KEYS, data=DATA)
    def create(self, key: str, data: bytes) -> None:
        try:
            self.store.create(key, data)
        except KeyExists:
            assert key in self.model
        else:
            assert key not in self.model
            self.model[key] = data

    @rule(keys=st.lists(KEYS, max_size=4))
    def delete(self, keys: list[str]) -> None:
        self.store.delete(keys)
        for key in keys:
            self.model.pop(key, None)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        try:
            assert self.store.get(key) == self.model.get(key)
            with self.store.open(key) as file:
                assert file.read() == self.model[key]
            assert self.store.info(key).size_bytes == len(self.model[key])
        except KeyNotFound:
            assert key not in self.model

    @rule(key=KEYS, start=st.integers(0, 100_000), length=st.integers(0, 100_000))
    def get_range(self, key: str, start: int, length: int) -> None:
        try:
            assert self.store.get_range(key, start, length) == self.model.get(key, b"?")[start : start + length]
        except KeyNotFound:
            assert key not in self.model

    @rule(folder=FOLDERS)
    def list_a_folder(self, folder: str) -> None:
        listed = [(info.key, info.size_bytes) for info in self.store.list(folder)]
        assert listed == sorted((key, len(data)) for key, data in self.model.items() if key.startswith(folder))

    @rule(folder=FOLDERS)
    def name_folders(self, folder: str) -> None:
        rests = [key[len(folder) :] for key in self.model if key.startswith(folder)]
        expected = sorted({rest.split("/")[0] for rest in rests if "/" in rest})
        found = self.store.folders(folder)
        assert [name for name in found if name in expected or any(self.store.list(f"{folder}{name}/"))] == expected

    @rule()
    def open_again(self) -> None:
        self.store = self.reopened()

    def reopened(self) -> Store:
        return open_store(self.store.url, create=False)

    @invariant()
    def nothing_else_is_there(self) -> None:
        if hasattr(self, "store"):
            assert [info.key for info in self.store.list()] == sorted(self.model)


class LocalMachine(StoreMachine):
    def new_store(self) -> Store:
        self.folder = tempfile.TemporaryDirectory()
        return open_store(Path(self.folder.name) / "store")

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


class MemoryMachine(StoreMachine):
    def new_store(self) -> Store:
        return open_store(f"memory://{secrets.token_hex(8)}")


QUICK = settings(max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("machine", [LocalMachine, MemoryMachine])
def test_a_store_is_a_dictionary(machine: type[StoreMachine]) -> None:
    """Random sequences of verbs on a local store and one in memory."""
    run_state_machine_as_test(machine, settings=QUICK)


@pytest.mark.slow
@pytest.mark.s3
@pytest.mark.parametrize("client", ["obstore", "s3fs"])
def test_a_store_on_s3_is_a_dictionary(moto_server: Server, bucket: str, client: str) -> None:
    """Random sequences of verbs on a server."""
    options = moto_server.options(client=client)

    class RemoteMachine(StoreMachine):
        def new_store(self) -> Store:
            return open_store(f"s3://{bucket}/{secrets.token_hex(8)}", storage_options=options)

        def reopened(self) -> Store:
            return open_store(self.store.url, storage_options=options, create=False)

    run_state_machine_as_test(RemoteMachine, settings=settings(QUICK, max_examples=8))
