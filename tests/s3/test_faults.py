"""What a store on S3 does when the server or the network fails: nothing lost, nothing twice, and a clear end."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.s3.proxy import Kind, Proxy, proxy_to
from tests.servers import Server
from tracker.errors import KeyExists, KeyNotFound, StoreUnavailable
from tracker.store.base import Store
from tracker.store.objects import get_object, put_object
from tracker.store.open import open_store
from tracker.store.retry import RetryPolicy

pytestmark = [pytest.mark.s3, pytest.mark.parametrize("client", ["obstore", "s3fs"])]

QUICK = RetryPolicy(attempts=6, total_s=20.0, first_pause_s=0.01, longest_pause_s=0.05)
LARGE = bytes(80 << 20)  # goes in parts with either client
FAULTS: tuple[Kind, ...] = ("slow-down", "error", "cut-request", "lost-reply")


@pytest.fixture
def proxy(moto_server: Server) -> Iterator[Proxy]:
    """A proxy in front of moto's server."""
    with proxy_to(moto_server.endpoint) as running:
        yield running


@pytest.fixture
def options(moto_server: Server, proxy: Proxy, client: str) -> dict[str, Any]:
    """Storage options that lead through the proxy."""
    return replace(moto_server, endpoint=proxy.endpoint).options(client=client)


@pytest.fixture
def url(bucket: str, request: pytest.FixtureRequest) -> str:
    """A place of its own for each test."""
    return f"s3://{bucket}/faults/{abs(hash(request.node.name))}-{os.urandom(4).hex()}"


@pytest.fixture
def store(url: str, options: dict[str, Any]) -> Store:
    """A store behind the proxy that tries six times."""
    return open_store(url, storage_options=options, retry=QUICK)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_put_survives_failures(store: Store, proxy: Proxy, fault: Kind) -> None:
    """Throttling, server errors, cut connections and lost replies are tried again until the bytes are there."""
    data = os.urandom(200_000)
    proxy.fail(fault, "PUT", "/a/key$", times=3)

    store.put("a/key", data)

    assert proxy.count("PUT", "/a/key$") == 4
    assert store.get("a/key") == data
    assert [info.key for info in store.list("a/")] == ["a/key"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_create_survives_failures(store: Store, proxy: Proxy, fault: Kind) -> None:
    """A create whose reply was lost recognises its own bytes and does not report a conflict with itself."""
    proxy.fail(fault, "PUT", "/a/key$", times=2)

    store.create("a/key", b"mine")

    assert store.get("a/key") == b"mine"


def test_a_create_that_lost_its_reply_is_not_somebody_elses(store: Store, proxy: Proxy) -> None:
    """The key was taken with equal bytes by another writer: a repeated create still reports the conflict."""
    store.create("a/key", b"equal")
    proxy.fail("error", "PUT", "/a/key$")

    with pytest.raises(KeyExists):
        store.create("a/key", b"equal")


@pytest.mark.parametrize("fault", ["slow-down", "error", "lost-reply", "cut-reply"])
def test_reading_survives_failures(store: Store, proxy: Proxy, fault: Kind) -> None:
    """Reads, ranges and listings are tried again; a reply that breaks off is never taken for the whole."""
    data = os.urandom(300_000)
    store.put("a/key", data)
    for path in ("/a/key$", f"/{store.url.split('/')[2]}/?$"):
        proxy.fail(fault, "GET", path, times=2)

    assert store.get("a/key") == data
    assert store.get_range("a/key", 1000, 100_000) == data[1000:101_000]
    assert [info.key for info in store.list("a/")] == ["a/key"]
    assert store.folders() == ["a"]


@pytest.mark.parametrize("fault", ["slow-down", "error", "lost-reply", "keep-keys", "slow-keys"])
def test_deleting_survives_failures(store: Store, proxy: Proxy, fault: Kind) -> None:
    """A delete that took effect unseen is repeated without complaint."""
    store.put("a/key", b"x")
    proxy.fail(fault, "POST", "", times=2)

    store.delete(["a/key"])

    assert list(store.list("a/")) == []


def test_an_end_of_retries_names_the_cause(store: Store, proxy: Proxy) -> None:
    """A server that never recovers gives one clear error, after a bounded number of tries, and the key stays absent."""
    proxy.fail("slow-down", "PUT", "/a/key$", times=1000)

    with pytest.raises(StoreUnavailable, match=r"writing a/key .* failed 6 times .*(SlowDown|reduce)") as caught:
        store.put("a/key", b"x")

    assert proxy.count("PUT", "/a/key$") == 6
    assert "hindsight-tests-secret" not in str(caught.value)
    with pytest.raises(KeyNotFound):
        store.get("a/key")


def test_a_put_cut_short_leaves_the_old_bytes(store: Store, proxy: Proxy) -> None:
    """A connection that breaks in the middle of every put leaves what was there, whole."""
    store.put("a/key", b"old" * 100_000)
    proxy.fail("cut-request", "PUT", "/a/key$", times=1000)

    with pytest.raises(StoreUnavailable):
        store.put("a/key", b"new" * 100_000)

    assert store.get("a/key") == b"old" * 100_000


def test_an_absent_key_costs_one_request(store: Store, proxy: Proxy) -> None:
    """What is final is not tried again."""
    with pytest.raises(KeyNotFound):
        store.get("a/nothing")

    assert proxy.count("GET", "/a/nothing$") == 1


def test_a_server_that_hangs_is_given_up(url: str, options: dict[str, Any], proxy: Proxy) -> None:
    """A server that accepts and never answers ends in an error and not in a program that stands still."""
    impatient = {**options, "config_kwargs": {"read_timeout": 0.3}}
    store = open_store(url, storage_options=options, retry=QUICK)
    waiting = open_store(url, storage_options=impatient, retry=replace(QUICK, attempts=2))
    proxy.fail("hang", "GET", "/a/key$", times=1000)
    store.put("a/key", b"x")

    with pytest.raises(StoreUnavailable, match="failed 2 times"):
        waiting.get("a/key")


def test_a_stale_listing_loses_nothing(store: Store, proxy: Proxy) -> None:
    """A listing that lags behind shows an older state, never a mixture, and keys are read without it."""
    store.put("a/1", b"1")
    assert [info.key for info in store.list("a/")] == ["a/1"]
    store.put("a/2", b"2")
    proxy.fail("stale-list", "GET", "", times=1)

    assert [info.key for info in store.list("a/")] == ["a/1"]
    assert store.get("a/2") == b"2"
    assert [info.key for info in store.list("a/")] == ["a/1", "a/2"]


def test_a_large_object_repeats_only_what_failed(store: Store, proxy: Proxy) -> None:
    """An upload in parts goes on after throttling and cuts, and its hash is right."""
    data = os.urandom(80 << 20)
    proxy.fail("slow-down", "PUT", "/objects/", times=1)
    proxy.fail("cut-request", "PUT", "/objects/", times=1)

    digest = put_object(store, data)

    assert get_object(store, digest) == data
    assert 5 < proxy.count("PUT", "/objects/") < 16


def test_a_large_key_is_created_in_parts(store: Store, proxy: Proxy) -> None:
    """As a put is, so that no request has to carry all of it; a lost reply at its end is recognised, and others not."""
    proxy.fail("cut-request", "PUT", "/a/large$", times=1)
    proxy.fail("lost-reply", "POST", "/a/large$", times=1)

    store.create("a/large", LARGE)

    assert 5 < proxy.count("PUT", "/a/large$") < 26
    with pytest.raises(KeyExists):
        store.create("a/large", b"another")
    assert store.get("a/large") == LARGE


def test_a_storm_of_failures_loses_nothing(store: Store, proxy: Proxy) -> None:
    """Eight threads write a hundred keys while a third of the requests fail in every way."""
    for number in range(30):
        proxy.fail(FAULTS[number % 4], "PUT", f"/a/{number * 3}$", times=1 + number % 3)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.create(f"a/{number}", str(number).encode()), range(100)))

    assert {info.key for info in store.list("a/")} == {f"a/{number}" for number in range(100)}
    assert all(store.get(f"a/{number}") == str(number).encode() for number in range(0, 100, 7))


def test_of_two_processes_one_creates(url: str, store: Store, options: dict[str, Any], client: str) -> None:
    """Processes that race to create the same keys: each key has exactly one winner, and its bytes."""
    script = (
        "import sys, json; from tracker.store.open import open_store; from tracker.errors import KeyExists\n"
        "store = open_store(sys.argv[1], storage_options=json.loads(sys.argv[2]))\n"
        "for number in range(20):\n"
        "    try: store.create(f'a/{number}', sys.argv[3].encode())\n"
        "    except KeyExists: continue\n"
        "    print(number)\n"
    )
    import json

    command = [sys.executable, "-c", script, url, json.dumps(options)]
    processes = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("one", "two")]
    won = {name: process.communicate()[0].split() for name, process in zip(("one", "two"), processes, strict=True)}

    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(map(int, won["one"] + won["two"])) == list(range(20))
    for name, numbers in won.items():
        assert all(store.get(f"a/{number}") == name.encode() for number in numbers)


def test_opening_survives_failures(url: str, options: dict[str, Any], proxy: Proxy) -> None:
    """A store is created through throttling and lost replies, and probed rightly."""
    proxy.fail("slow-down", "GET", r"format\.json$")
    proxy.fail("lost-reply", "PUT", r"/\.probe/", times=1)
    proxy.fail("lost-reply", "PUT", r"format\.json$")

    store = open_store(url, storage_options=options)

    assert store.conditional_put
    assert [info.key for info in store.list()] == ["format.json"]
