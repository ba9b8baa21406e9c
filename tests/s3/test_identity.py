"""Stores of one URL on two servers are two stores; one store at two addresses is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import servers
from tests.s3.proxy import Proxy, proxy_to
from tests.servers import Server
from tests.syncing.stores import contents, sound, tiny_run
from tracker.config import Settings
from tracker.errors import InputError
from tracker.record.spool import spool_for, spools
from tracker.store.base import Store
from tracker.store.open import open_store
from tracker.syncing.stores import sync

pytestmark = pytest.mark.s3


@pytest.fixture
def proxy(moto_server: Server) -> Iterator[Proxy]:
    """Another address of moto's server."""
    with proxy_to(moto_server.endpoint) as running:
        yield running


@pytest.fixture(scope="module")
def common(rclone_server: Server, bucket: str) -> str:
    """A bucket of this name on both servers."""
    return servers.new_bucket(rclone_server, bucket)


@pytest.fixture
def pair(moto_server: Server, rclone_server: Server, common: str, tmp_path: Path) -> tuple[Store, Store]:
    """A store on one server, and its replica on another one, as servers make them: with its format."""
    url = f"s3://{common}/{tmp_path.name}"
    first = open_store(url, storage_options=moto_server.options())
    replica = open_store(url, storage_options=rclone_server.options())
    replica.put("format.json", first.get("format.json"))
    return first, replica


def test_each_has_a_spool_of_its_own(pair: tuple[Store, Store], tmp_path: Path) -> None:
    """What waits for one is never shipped into the other."""
    settings = Settings(spool=str(tmp_path / "spool"))

    folders = [spool_for(store, settings).url for store in pair]

    assert len(set(folders)) == 2
    known = {spool.folder.url: (spool.url, spool.address) for spool in spools(settings)}
    assert [known[folder][0] for folder in folders] == [pair[0].url] * 2
    assert len({address for _, address in known.values()}) == 2


def test_what_one_was_given_the_other_lacks(pair: tuple[Store, Store], tmp_path: Path) -> None:
    """A synchronisation remembers each of them, and brings one over into the other."""
    records, source = tmp_path / "records", tmp_path / "source"
    tiny_run(source, "first")
    first, replica = pair

    given = [sync(source, store, records=records) for store in pair]
    tiny_run(source, "second")
    sync(source, first, records=records)
    brought = sync(first, replica, records=records)

    assert given[0].keys == given[1].keys > 0
    assert brought.complete
    assert contents(replica) == contents(first) == contents(open_store(source))
    assert sound(replica)


def test_one_store_at_two_addresses_is_no_pair(moto_server: Server, proxy: Proxy, bucket: str, tmp_path: Path) -> None:
    """Else deleting what has arrived would delete all there is. A copy of a folder is another store."""
    url = f"s3://{bucket}/{tmp_path.name}"
    stores = [
        open_store(url, storage_options=replace(moto_server, endpoint=endpoint).options())
        for endpoint in (moto_server.endpoint, proxy.endpoint)
    ]
    tiny_run(tmp_path / "store", "a launch")
    shutil.copytree(tmp_path / "store", tmp_path / "copy")

    with pytest.raises(InputError, match="both source and target"):
        sync(*stores, delete_after=True)

    assert [info.key for info in stores[0].list()] == ["format.json"]
    assert sync(tmp_path / "store", tmp_path / "copy", records=tmp_path / "records").complete


def test_a_target_that_is_not_there_yet_is_another_store(moto_server: Server, bucket: str, tmp_path: Path) -> None:
    """In a dry run, too, although the source has its URL, on the server that needs no name."""
    tiny_run(f"memory://{tmp_path.name}", "a launch")
    source = open_store(f"memory://{tmp_path.name}")
    source.url = f"s3://{bucket}/{tmp_path.name}"

    foreseen = sync(source, source.url, target_options=moto_server.options(), dry_run=True)

    assert foreseen.keys > 0
    assert foreseen.target == source.url
