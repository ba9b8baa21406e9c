"""Synchronisation with S3: in every pairing, with few requests, and through every failure at every request."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import tracker
from tests.s3.proxy import Kind, Proxy, proxy_to
from tests.servers import Server
from tests.syncing.stores import contents, small_run, sound, tiny_run
from tracker.errors import StoreFull, Unavailable
from tracker.store.base import Store
from tracker.store.open import open_store
from tracker.store.retry import RetryPolicy
from tracker.syncing.stores import sync

pytestmark = pytest.mark.s3

QUICK = RetryPolicy(attempts=4, total_s=60.0, first_pause_s=0.01, longest_pause_s=0.05)
NEVER = RetryPolicy(attempts=1, total_s=60.0)
FAULTS: tuple[Kind, ...] = ("slow-down", "error", "cut-request", "lost-reply", "cut-reply")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two small runs."""
    folder = tmp_path_factory.mktemp("source") / "store"
    for seed in range(2):
        small_run(folder, seed=seed)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with as little as there can be of everything."""
    folder = tmp_path_factory.mktemp("tiny") / "store"
    tiny_run(folder, "a launch")
    return folder


@pytest.fixture
def proxy(moto_server: Server) -> Iterator[Proxy]:
    """A proxy in front of moto's server."""
    with proxy_to(moto_server.endpoint) as running:
        yield running


@pytest.fixture
def options(moto_server: Server, proxy: Proxy) -> dict[str, Any]:
    """Storage options that lead through the proxy."""
    return replace(moto_server, endpoint=proxy.endpoint).options()


@pytest.fixture
def url(bucket: str) -> str:
    """A place where no store is yet."""
    return f"s3://{bucket}/sync/{secrets.token_hex(8)}"


def frame(store: Store | Path) -> list[Any]:
    """All that was logged."""
    return tracker.dataframe("loss", "seed", store=store).values.tolist()


def test_from_a_folder_to_s3_to_s3_to_a_folder(source: Path, url: str, options: dict[str, Any], tmp_path: Path) -> None:
    """In every pairing, the same keys with the same bytes."""
    first = open_store(f"{url}/1", storage_options=options)
    second = open_store(f"{url}/2", storage_options=options)
    back = open_store(tmp_path / "back")

    for origin, target in ((open_store(source), first), (first, second), (second, back)):
        assert sync(origin, target).complete
        assert contents(target) == contents(open_store(source))
        assert sync(origin, target).keys == 0
        assert sync(origin, target, full=True).keys == 0
    assert sound(second)
    assert frame(second) == frame(source)


def test_an_unchanged_store_costs_no_requests_for_its_runs(
    source: Path, url: str, options: dict[str, Any], proxy: Proxy
) -> None:
    """The format of the target is read, and that is all; a further run is asked for by itself."""
    sync(source, url, target_options=options)
    proxy.seen.clear()

    sync(source, url, target_options=options)

    assert len(proxy.seen) <= 3
    assert all(path.endswith("format.json") for _, path, _ in proxy.seen)


def test_a_changed_run_costs_requests_of_its_own(
    source: Path, url: str, options: dict[str, Any], proxy: Proxy, tmp_path: Path
) -> None:
    """Whatever else there is: a put for every key that is new, and a few requests to find out which those are."""
    import shutil

    shutil.copytree(source, tmp_path / "store")
    sync(tmp_path / "store", url, target_options=options)
    small_run(tmp_path / "store", seed=5)
    proxy.seen.clear()

    summary = sync(tmp_path / "store", url, target_options=options)

    put = {path for method, path, _ in proxy.seen if method == "PUT"}  # one that a busy server lost is sent again
    assert len(put) == summary.keys + 1  # a hold, while the target's own objects are relied on
    assert len(proxy.seen) - summary.keys <= 12


@dataclass
class Pairing:
    """A store in a folder and one on a server, of which one is copied into the other, again and again."""

    tiny: Path
    url: str
    server: Server
    client: str
    to_server: bool
    made: int = 0

    def fresh(self, proxy: Proxy) -> tuple[Store, Store]:
        """Source and target as they are seen through a proxy; nothing is in the target."""
        self.made += 1
        options = replace(self.server, endpoint=proxy.endpoint).options(client=self.client)
        place = f"{self.url}/{self.made if self.to_server else 'origin'}"
        if not self.to_server:
            sync(self.tiny, open_store(place, storage_options=self.server.options()))
        remote = open_store(place, storage_options=options, retry=QUICK)
        local = open_store(self.tiny if self.to_server else f"memory://{self.url}/{self.made}")
        proxy.seen.clear()
        return (local, remote) if self.to_server else (remote, local)

    def there(self, target: Store) -> dict[str, bytes]:
        """What is in the target in truth."""
        return contents(open_store(target.url, storage_options=self.server.options()) if self.to_server else target)

    def requests(self) -> list[str]:
        """The paths of all requests of a synchronisation."""
        with proxy_to(self.server.endpoint) as counting:
            source, target = self.fresh(counting)
            sync(source, target, threads=1)
            return [path for _, path, _ in counting.seen]


@pytest.fixture(params=["obstore to", "obstore from", "s3fs to", "s3fs from"])
def pairing(request: pytest.FixtureRequest, tiny: Path, url: str, moto_server: Server) -> Pairing:
    """To a server and from one, with each client."""
    client, direction = str(request.param).split()
    return Pairing(tiny, url, moto_server, client, direction == "to")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairing", "shift"),
    [("obstore to", 0), ("obstore to", 1), ("obstore from", 0), ("obstore from", 1), ("s3fs to", 0), ("s3fs from", 1)],
    indirect=["pairing"],
)
def test_every_request_may_fail_once(pairing: Pairing, shift: int) -> None:
    """The first, the second, … the last request of a synchronisation fails, each in two ways (with the slower client in
    one): it arrives all the same, whole and once.
    """
    expected, count = contents(open_store(pairing.tiny)), len(pairing.requests())

    for number in range(count):
        fault = FAULTS[(number + 2 * shift) % len(FAULTS)]
        with proxy_to(pairing.server.endpoint) as failing:
            source, target = pairing.fresh(failing)
            failing.fail_at(number, fault)
            summary = sync(source, target, threads=1)
            assert failing.count_faults() == 1
        assert summary.complete
        assert pairing.there(target) == expected, f"after {fault} at request {number} of {count}"
    assert count > 10


@pytest.mark.slow
@pytest.mark.parametrize("hidden", ["/data/", "/"])
def test_every_listing_may_be_stale(pairing: Pairing, hidden: str) -> None:
    """It shows less than there is: what is hidden is copied again or the next time, and nothing is lost."""
    expected, served = contents(open_store(pairing.tiny)), 0
    listings = [number for number, path in enumerate(pairing.requests()) if "list-type=2" in path]

    for number in listings:
        with proxy_to(pairing.server.endpoint) as failing:
            source, target = pairing.fresh(failing)
            if pairing.to_server:
                sync(source, open_store(target.url, storage_options=pairing.server.options()))
            failing.hidden = hidden
            failing.fail_at(number, "stale-list")
            sync(source, target, threads=1, full=True)
            served += failing.count_faults()
            sync(source, target)
        assert pairing.there(target) == expected, f"without {hidden} in the listing at request {number}"
    assert listings
    assert served or hidden != "/"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, 24, 3))
def test_a_request_may_hang(tiny: Path, url: str, options: dict[str, Any], proxy: Proxy, number: int) -> None:
    """A server that takes a request and never answers is asked again."""
    impatient = options | {"config_kwargs": {"read_timeout": 1.0}}
    target = open_store(url, storage_options=impatient, retry=QUICK)
    proxy.fail_at(number, "hang")

    assert sync(tiny, target, threads=1).complete
    proxy.released.set()
    assert contents(target) == contents(open_store(tiny))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["error", "lost-reply"])
def test_every_request_may_be_the_last(tiny: Path, url: str, moto_server: Server, fault: Kind) -> None:
    """Wherever it is given up, the target is sound; the next synchronisation completes it."""
    expected, number, ended = contents(open_store(tiny)), 0, False
    while not ended:
        with proxy_to(moto_server.endpoint) as failing:
            options = replace(moto_server, endpoint=failing.endpoint).options()
            target = open_store(f"{url}/{number}", storage_options=options, retry=NEVER)
            failing.seen.clear()
            failing.fail_at(number, fault)
            try:
                sync(tiny, target, threads=1)
                ended = failing.count_faults() == 0
            except Unavailable:
                pass
        direct = open_store(f"{url}/{number}", storage_options=moto_server.options())
        assert sound(direct), f"after {fault} at request {number}"
        sync(tiny, direct)
        assert contents(direct) == expected
        number += 1
    assert number > 10


def test_a_stale_listing_hides_nothing_for_ever(source: Path, url: str, options: dict[str, Any], proxy: Proxy) -> None:
    """What an old listing of the source did not show is brought over when a newer one does."""
    origin = open_store(f"{url}/1", storage_options=options)
    target = open_store(f"{url}/2", storage_options=options)
    sync(source, origin)
    sync(origin, target)
    run = small_run(source, seed=7)
    sync(source, origin)
    proxy.hidden = run
    proxy.fail("stale-list", "GET", "", times=50)

    sync(origin, target)

    assert proxy.count_faults() > 0
    assert run not in target.folders("runs/")
    proxy.faults.clear()
    sync(origin, target)
    assert run in target.folders("runs/")
    assert contents(target) == contents(origin)
    assert sound(target)


@pytest.mark.parametrize("kind", ["/objects/", "/data/", "/end.json"])
def test_a_full_server_ends_it_and_the_next_goes_on(
    source: Path, url: str, options: dict[str, Any], proxy: Proxy, kind: str
) -> None:
    """It is told as such and not tried again and again; what had arrived is sound, and is not copied twice."""
    target = open_store(url, storage_options=options)
    proxy.fail("full", "PUT", kind, times=1000)

    with pytest.raises(StoreFull):
        sync(source, target)

    assert proxy.count("PUT", kind) <= 16  # what was on its way
    proxy.faults.clear()
    assert sound(target)
    arrived = contents(target).keys()
    assert sync(source, target).keys == len(contents(open_store(source)).keys() - arrived)
    assert contents(target) == contents(open_store(source))


KILLED = """
import json, os, sys, threading, time
from tracker.store.open import open_store
from tracker.syncing.stores import sync
source, url, options, delay = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), float(sys.argv[4])
target = open_store(url, storage_options=options)
open_store(source, create=False)
threading.Thread(target=lambda: (time.sleep(delay), os.kill(os.getpid(), 9)), daemon=True).start()
sync(source, target)
"""


@pytest.mark.slow
def test_killed_at_any_moment_the_next_goes_on(source: Path, url: str, moto_server: Server) -> None:
    """SIGKILL again and again, a little later each time: the target is sound, and complete at last."""
    options = moto_server.options()
    target, killed = open_store(url, storage_options=options), 0
    for number in range(12):
        words = [str(source), url, json.dumps(options), str(0.01 * 1.6**number)]
        done = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, check=False, timeout=120)
        killed += done.returncode == -9
        assert done.returncode in {0, -9}, done.stderr
        assert sound(target)
        if done.returncode == 0:
            break

    sync(source, target)

    assert killed >= 2
    assert contents(target) == contents(open_store(source))


@pytest.mark.slow
def test_many_at_once_into_one_target(source: Path, url: str, moto_server: Server, tmp_path: Path) -> None:
    """Four processes, two of them from another store that shares objects: nothing is lost, and nothing is torn."""
    other = tmp_path / "other"
    for seed in range(2, 5):
        small_run(other, seed=seed)
    options = moto_server.options()
    code = KILLED.replace("threading.Thread", "(lambda **_: threading.Thread(target=int))")
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(store), url, json.dumps(options), "0"], env=environment)
        for store in (source, other, source, other)
    ]

    assert [process.wait(120) for process in running] == [0, 0, 0, 0]
    target = open_store(url, storage_options=options)
    assert contents(target) == contents(open_store(source)) | contents(open_store(other))
    assert sound(target)


def test_a_run_that_writes_to_s3_is_followed(url: str, moto_server: Server, tmp_path: Path) -> None:
    """Its small segments, and the larger ones that replace them, give every record once in the copy, at any moment."""
    options, target = moto_server.options(), tmp_path / "target"
    origin = open_store(url, storage_options=options)
    with tracker.run(store=url, storage_options=options, capture=(), flush_interval_s=1000.0):
        for step in tracker.loop("step", range(120)):
            tracker.log("loss", step)
            if step % 6 == 5:
                tracker.commit()
            if step % 10 == 5:
                sync(origin, target, full=step % 20 == 5)
                seen = tracker.dataframe("loss", store=target)["loss"].tolist()
                assert seen == list(range(len(seen)))
    summary = sync(origin, target)

    assert tracker.dataframe("loss", store=target)["loss"].tolist() == list(range(120))
    assert tracker.runs(store=target)[0].status == "finished"
    assert summary.removed > 0
    assert sound(open_store(target))
