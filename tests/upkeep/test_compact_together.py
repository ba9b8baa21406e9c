"""Compaction beside everything else: killed, twice at once, beside writers, readers and a sync."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tracker
from tests.conftest import address_on
from tests.read.building import It, Logged, log_run
from tests.s3.proxy import Proxy, proxy_to
from tests.servers import Server
from tests.upkeep.answers import answers, without_index
from tracker.read.frame import dataframe
from tracker.read.indexed import scan_index
from tracker.read.select import runs
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.open import open_store
from tracker.store.verify import verify
from tracker.syncing.stores import sync
from tracker.upkeep.compaction import compact

KILLED = """
import os, sys, threading, time
import numpy, pyarrow.parquet  # imported before, so that the moments fall into the work
from tracker.store.open import open_store
from tracker.upkeep.compaction import compact
store = open_store(sys.argv[1])
threading.Thread(target=lambda: (time.sleep(float(sys.argv[2])), os.kill(os.getpid(), 9)), daemon=True).start()
compact(store, full=True, grace_s=0)
"""
WRITING = """
import json, sys
import tracker
store, options, number = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
for turn in range(3):
    for key in ("own", "shared"):
        with tracker.run(store=store, storage_options=options, capture=(), launch_key=f"{key} {number if key == 'own' else 0}"):
            for epoch in tracker.loop("epoch", range(turn, turn + 2)):
                tracker.log("loss", number + epoch / 10)
"""  # noqa: E501
REMOVING = """
import json, sys
import tracker
from tracker.store.open import open_store
from tracker.upkeep.removal import remove_runs
store, options = sys.argv[1], json.loads(sys.argv[2])
for turn in range(4):
    with tracker.run(store=store, storage_options=options, capture=(), launch_key="goes", name="goes") as run:
        tracker.log("loss", turn)
    if turn < 3:
        assert list(remove_runs(open_store(store, storage_options=options), [run.id]).runs) == [run.id]
"""
COMPACTING = """
import json, sys
from tracker.store.open import open_store
from tracker.upkeep.compaction import compact
store = open_store(sys.argv[1], storage_options=json.loads(sys.argv[2]))
for turn in range(6):
    compact(store, full=turn == 3)
"""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def fill(store: Store, count: int) -> None:
    """Runs with a few records each."""
    for number in range(count):
        log_run(
            store, *[Logged((It("epoch", n),), "loss", number + n / 10) for n in range(3)], arguments={"lr": number}
        )


@pytest.mark.slow
def test_a_killed_compaction_leaves_a_store_that_answers(tmp_path: Path) -> None:
    """A little later each time, also while it deletes what it replaced."""
    store, codes = open_store(tmp_path / "store"), list[int]()
    fill(store, 60)
    expected = answers(without_index(store), tables=False)
    for number in range(12):
        words = [sys.executable, "-c", KILLED, str(tmp_path / "store"), str(0.01 * 1.5**number)]
        done = subprocess.run(words, capture_output=True, check=False, timeout=120)
        assert done.returncode in {0, -9}, done.stderr
        codes.append(done.returncode)
        assert answers(store, tables=False) == expected

    compact(store, full=True, grace_s=0)

    assert codes.count(-9) >= 3
    assert answers(store, tables=False) == expected
    assert not [problem for problem in verify(store).problems if problem.kind in {"damaged", "unknown"}]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["local", "obstore", "rclone-obstore"])
def test_writers_readers_a_sync_and_two_compactions_at_once(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Readers never fail and never see less than before, but for what was removed; in the end all is there, with the
    index and without it: runs with many attempts, and one that was removed and came back.
    """
    url, options = address_on(name, request)
    store, other = open_store(url, storage_options=options), open_store(tmp_path / "other")
    fill(other, 5)
    compact(store)
    words = [url, msgspec.json.encode(options).decode()]
    programs = [[WRITING, *words, str(number)] for number in range(2)]
    programs += [[REMOVING, *words], [COMPACTING, *words], [COMPACTING, *words]]
    environment = os.environ | {"HINDSIGHT_SPOOL": str(tmp_path / "spool")}
    started = [subprocess.Popen([sys.executable, "-c", *each], env=environment) for each in programs]
    sync(other, store)
    seen, deadline = 0, time.monotonic() + 300
    while any(process.poll() is None for process in started) and time.monotonic() < deadline:
        found = sum(view.document.name != "goes" for view in runs(store))
        assert found >= seen
        seen = found
        dataframe(store, "loss")
    assert [process.wait(60) for process in started] == [0] * 5

    assert answers(store, tables=False) == answers(without_index(store), tables=False)
    compact(store, grace_s=0)
    assert answers(store, tables=False) == answers(without_index(store), tables=False)
    # Where the server cannot tell who was first, two writers that begin one launch at once may become two runs.
    assert len(runs(store)) - (5 + 3 + 1) in ({0} if store.conditional_put else {0, 1})
    assert all(view.located is not None for view in scan_index(store) or [])


@pytest.fixture
def proxy(moto_server: Server) -> Iterator[Proxy]:
    """A proxy in front of moto's server, which counts."""
    with proxy_to(moto_server.endpoint) as running:
        yield running


@pytest.mark.s3
@pytest.mark.parametrize("client", ["obstore", "s3fs"])
def test_requests_do_not_grow_with_runs(moto_server: Server, proxy: Proxy, bucket: str, client: str) -> None:
    """Listing all runs, and one metric of all of them, takes as many for 60 runs as for 20."""
    options = replace(moto_server, endpoint=proxy.endpoint).options(client=client)
    store = open_store(f"s3://{bucket}/{secrets.token_hex(8)}", storage_options=options)
    counts = []
    for count in (20, 40):
        for number in range(count):
            run = f"{ids.first_id(1_600_000_000_000 + number + count * 1000)[:-1]}1"
            log_run(store, *[Logged((It("epoch", n),), "loss", n / 10) for n in range(3)], run=run)
        compact(store, full=True, grace_s=0)
        compact(store, full=True, grace_s=0)
        counts.append((_requests(proxy, lambda: runs(store)), _requests(proxy, lambda: dataframe(store, "loss"))))

    assert counts[0] == counts[1]
    assert counts[1][0] <= 6
    assert counts[1][1] <= 10
    assert len(dataframe(store, "loss")) == 60 * 3


def _requests(proxy: Proxy, work: Any) -> int:
    before = len(proxy.seen)
    work()
    return len(proxy.seen) - before


DEEP = "[" * 200_000 + "]" * 200_000
HOSTILE: list[tuple[str, Any]] = [
    ("run", "../../etc"),
    ("run", None),
    ("version", -5),
    ("state", "wrong"),
    ("documents", "{}"),
    ("documents", '{"../../../etc/passwd": 1, "run.json": 5}'),
    ("documents", "no JSON"),
    ("documents", f'{{"run.json":{DEEP}}}'),
]
PLACES: list[tuple[str, Any]] = [
    ("key", "../../../secret"),
    ("key", "epoch/../../x.parquet"),
    ("table", "../../../../etc"),
    ("number", -1),
    ("group", 10**6),
    ("start", 10**15),
    ("rows", 10**15),
    ("start", -3),
    ("columns", '["loss", "nothing"]'),
    ("columns", "no JSON"),
    ("about", "[]"),
    ("about", "no JSON"),
    ("about", DEEP),
    ("columns", DEEP),
]


@pytest.mark.parametrize(
    ("column", "value"),
    HOSTILE + [(f"segments.{name}", value) for name, value in PLACES],
    ids=lambda value: str(value)[:50],
)
@pytest.mark.filterwarnings("ignore::tracker.read.notices.DamageWarning")
def test_rows_that_cannot_be_true_are_not_believed(tmp_path: Path, column: str, value: Any) -> None:
    """Ids, keys and sizes are checked; the runs themselves are read."""
    store = open_store(tmp_path / "store")
    fill(store, 3)
    compact(store)
    expected = answers(without_index(store))
    key = next(info.key for info in store.list(keys.INDEX_RUNS))
    _forge(store, key, column, value)

    found = answers(store)

    assert found | {"warnings": None} == expected | {"warnings": None}


def _forge(store: Store, key: str, column: str, value: Any) -> None:
    """Rewrite a batch with something else in its first row."""
    path = store.local_path(key)
    assert path is not None
    table = pq.read_table(path)
    rows = table.to_pylist()
    if column.startswith("segments."):
        for segment in rows[0]["segments"]:
            segment[column.partition(".")[2]] = value
    else:
        rows[0][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def test_the_index_is_not_copied_by_sync(tmp_path: Path) -> None:
    """The target makes its own; what arrives in one that has an index shows at once."""
    source, target = open_store(tmp_path / "source"), open_store(tmp_path / "target")
    fill(source, 3)
    compact(source)
    fill(target, 3)
    compact(target)
    before = {info.key for info in target.list(keys.INDEX_RUNS)}

    sync(source, target)

    assert {info.key for info in target.list(keys.INDEX_RUNS)} == before
    assert len(runs(target)) == 6
    assert answers(target) == answers(without_index(target))
    assert tracker.compact(target).indexed == 3
