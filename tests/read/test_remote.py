"""Reading from a real S3 server gives what a folder gives, with few requests."""

from __future__ import annotations

import threading
from collections import Counter

import pandas as pd
import pytest

from tests import servers
from tests.read.building import It, Logged, Writer, make_run
from tracker.read.frame import dataframe
from tracker.read.reader import Reader
from tracker.read.select import runs
from tracker.store.base import Store
from tracker.store.open import open_store

pytestmark = pytest.mark.s3


@pytest.fixture
def remote(moto_server: servers.Server, bucket: str, request: pytest.FixtureRequest) -> Store:
    """A new store on moto's server."""
    url = f"s3://{bucket}/{request.node.name.replace('[', '-').replace(']', '')}"
    return open_store(url, storage_options=moto_server.options())


def fill(store: Store, run: str | None = None) -> str:
    """Two shards of three segments each."""
    run = make_run(store, arguments={"lr": 0.1}, **({} if run is None else {"run": run}))
    for suffix, base in (("", 0.0), ("00000001", 100.0)):
        writer = Writer(store, run, run, suffix)
        for begin in (0, 3, 6):
            steps = range(begin, begin + 3)
            writer.seal(*[Logged((It("step", n),), "loss", base + n, {"rank": suffix or "0"}) for n in steps])
    return run


def test_it_reads_what_a_folder_reads(remote: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Frames, records and SQL."""
    local = open_store(tmp_path_factory.mktemp("local") / "store")
    run = fill(remote)
    fill(local, run)

    pd.testing.assert_frame_equal(dataframe(remote, "loss"), dataframe(local, "loss"))
    assert Reader(remote).read(step=4) == Reader(local).read(step=4)
    query = "select run, step, value from records order by all"
    assert list(Reader(remote).sql(query)) == list(Reader(local).sql(query))


def test_a_table_of_runs_costs_two_gets_a_run(remote: Store) -> None:
    """One listing for all, then ``run.json`` and ``end.json`` of each; nothing of the data."""
    for _ in range(3):
        fill(remote)
    counts = count(remote)

    frame = runs(remote).pandas()

    assert frame["lr"].tolist() == [0.1] * 3
    assert counts == {"list": 2, "get": 6}  # the other listing is that of the index, which there is none of


def count(store: Store) -> Counter[str]:
    """Count the verbs that a store is asked for from now on."""
    counts: Counter[str] = Counter()
    lock = threading.Lock()
    for verb in ("get", "get_range", "open", "list", "folders", "info"):

        def counted(*args: object, _verb: str = verb, _own: object = getattr(store, verb), **about: object) -> object:
            with lock:
                counts[_verb] += 1
            return _own(*args, **about)  # type: ignore[operator]

        setattr(store, verb, counted)
    return counts
