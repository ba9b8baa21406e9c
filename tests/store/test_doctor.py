"""The doctor tries every verb, names what fails with its remedy, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import remote
from tests.s3.proxy import proxy_to
from tests.servers import Server
from tracker.store import doctor
from tracker.store.doctor import Check, examine
from tracker.store.open import connect, open_store

VERBS = ["list", "format", "put", "get", "range", "listed", "create", "latency", "delete"]


def failed(checks: list[Check]) -> Check:
    """The one check that failed."""
    (check,) = [check for check in checks if not check.ok]
    return check


@pytest.mark.parametrize("address", remote("local", "memory", "fsspec-memory", "obstore", "s3fs"), indirect=True)
def test_a_healthy_place(address: tuple[str, dict[str, Any]]) -> None:
    """Every verb works, in order, and no store or key is left behind."""
    url, options = address

    checks = examine(url, options)

    assert [check.name for check in checks] == VERBS
    assert all(check.ok and check.detail for check in checks), checks
    assert list(connect(url, storage_options=options).list()) == []
    assert not Path(url).exists()


def test_an_existing_store_stays_as_it_is(tmp_path: Path) -> None:
    """Examining a store with content changes none of it."""
    store = open_store(tmp_path / "s")
    store.put("a/b", b"x")

    checks = examine(tmp_path / "s")

    assert all(check.ok for check in checks)
    assert "format 1" in checks[1].detail
    assert sorted(os.listdir(tmp_path / "s")) == ["a", "format.json"]


@pytest.mark.s3
@pytest.mark.parametrize("address", remote("rclone-obstore"), indirect=True)
def test_a_server_that_ignores_conditions(address: tuple[str, dict[str, Any]]) -> None:
    """Missing conditional puts are shown as a limit, with what to do, and not as a failure."""
    check = failed(examine(*address))

    assert (check.name, check.needed) == ("create", False)
    assert "HINDSIGHT_RUN_ID" in check.fix


def test_a_read_only_mount(tmp_path: Path) -> None:
    """A store that cannot be written fails at put, with what to check."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting needs a privilege that this user does not have")
    try:
        check = failed(examine(folder))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)

    assert check.name == "put"
    assert "Read-only" in check.detail
    assert "right to" in check.fix


@pytest.mark.s3
@pytest.mark.parametrize("client", ["obstore", "s3fs"])
def test_nobody_answers(client: str) -> None:
    """A closed port fails at the first verb, and the secret stays out of the report."""
    options = {"key": "k", "secret": "s3cr3t", "endpoint_url": "http://127.0.0.1:9", "client": client}

    check = failed(examine("s3://bucket/x", options))

    assert check.name == "list"
    assert "endpoint_url" in check.fix
    assert "s3cr3t" not in repr(check)


@pytest.mark.s3
@pytest.mark.parametrize("client", ["obstore", "s3fs"])
def test_a_check_that_fails_leaves_nothing(moto_server: Server, bucket: str, tmp_path: Path, client: str) -> None:
    """What was written to be read is deleted although it could not be read."""
    url = f"s3://{bucket}/{tmp_path.name}"
    with proxy_to(moto_server.endpoint) as proxy:
        proxy.fail("error", "GET", r"/\.probe/", times=1000)
        check = failed(examine(url, replace(moto_server, endpoint=proxy.endpoint).options(client=client)))

    assert check.name == "get"
    assert list(connect(url, storage_options=moto_server.options()).list()) == []


@pytest.mark.s3
@pytest.mark.parametrize("client", ["obstore", "s3fs"])
def test_a_server_that_never_answers(
    moto_server: Server, bucket: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for as long as while recording."""
    monkeypatch.setattr(doctor, "_READ_TIMEOUT_S", 0.1)
    with proxy_to(moto_server.endpoint) as proxy:
        proxy.fail("hang", "GET", "", times=1000)
        check = failed(
            examine(f"s3://{bucket}/x", replace(moto_server, endpoint=proxy.endpoint).options(client=client))
        )

    assert check.name == "list"
    assert "endpoint_url" in check.fix


@pytest.mark.s3
def test_a_bucket_that_is_not_there(moto_server: Server) -> None:
    """The bucket is named as what is missing."""
    check = failed(examine("s3://no-such-bucket/x", moto_server.options()))

    assert "bucket does not exist" in check.detail


def test_an_impossible_address() -> None:
    """An unknown protocol fails at connecting."""
    check = failed(examine("nonsense://x"))

    assert (check.name, "nonsense" in check.detail) == ("connect", True)
