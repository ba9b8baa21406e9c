"""Recording straight into S3 while the server fails: nothing is lost, nothing is doubled, and it is shipped later."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracker
from tests.s3.proxy import Kind, Proxy, proxy_to
from tests.servers import Server
from tests.syncing.stores import report_of, sound
from tracker.config import Settings
from tracker.record.context import PROCESS, set_scope
from tracker.record.identity import Identity
from tracker.record.lifecycle import begin_run, end_run
from tracker.record.origin import Origin
from tracker.record.recorder import Recorder
from tracker.record.run import Run
from tracker.store.base import Store
from tracker.store.local import LocalStore
from tracker.store.open import open_store
from tracker.store.recovery import recover
from tracker.store.retry import RetryPolicy

pytestmark = [pytest.mark.s3, pytest.mark.slow]

NEVER = RetryPolicy(attempts=1, total_s=60.0)
QUICK = RetryPolicy(attempts=4, total_s=60.0, first_pause_s=0.01, longest_pause_s=0.05)
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
STEPS = 12


@pytest.fixture(autouse=True)
def _own_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HINDSIGHT_SPOOL", str(tmp_path / "spool"))
    yield
    set_scope(PROCESS.root)


@pytest.fixture
def proxy(moto_server: Server) -> Iterator[Proxy]:
    """A proxy in front of moto's server."""
    with proxy_to(moto_server.endpoint) as running:
        yield running


def through(proxy: Proxy, server: Server) -> dict[str, Any]:
    """Storage options that lead through the proxy."""
    return replace(server, endpoint=proxy.endpoint).options()


def record(url: str, options: dict[str, Any]) -> None:
    """A run with records that are committed in between, a checkpoint, and a launch."""
    with tracker.run(
        store=url, storage_options=options, capture=(), checkpoints="all", launch_key="a launch", flush_interval_s=1e6
    ):
        with tracker.checkpointing(own={"w": np.arange(600.0)}):
            for epoch in tracker.loop("epoch", range(2)):
                for step in tracker.loop("step", range(STEPS // 2)):
                    tracker.log("loss", epoch * (STEPS // 2) + step)
        tracker.commit()
        tracker.log("score", 7)


def check(store: Store, tmp_path: Path) -> None:
    """Everything is there, once, and the run has ended."""
    (run,) = tracker.runs(store=store)
    assert run.status == "finished"
    assert tracker.dataframe("loss", "score", store=store).values[:, -2:].tolist() == [[n, 7] for n in range(STEPS)]
    assert len(list(store.list(f"runs/{run.run}/checkpoints/"))) == 2
    assert sound(store)
    assert [path for path in tmp_path.glob("spool/*/*/**/*") if path.is_file()] == []


def count_requests(server: Server, action: Any) -> int:
    """How many requests an action makes."""
    with proxy_to(server.endpoint) as counting:
        action(through(counting, server))
        return len(counting.seen)


@pytest.mark.parametrize(("fault", "every"), [("error", 1), ("lost-reply", 2), ("cut-request", 4), ("cut-reply", 4)])
def test_every_request_may_fail_once(moto_server: Server, bucket: str, tmp_path: Path, fault: Kind, every: int) -> None:
    """The first, the second, … the last request of a run fails: the run does not notice."""
    place = f"s3://{bucket}/recording/{fault}"
    count = count_requests(moto_server, lambda options: record(f"{place}/count", options))
    assert count > 15

    for number in range(0, count, every):
        with proxy_to(moto_server.endpoint) as failing:
            failing.fail_at(number, fault)
            record(f"{place}/{number}", through(failing, moto_server))
            assert failing.count_faults() == 1
        check(open_store(f"{place}/{number}", storage_options=moto_server.options()), tmp_path)


def test_a_listing_may_lag_behind(moto_server: Server, proxy: Proxy, bucket: str, tmp_path: Path) -> None:
    """What an old listing does not show is neither written twice nor forgotten."""
    url = f"s3://{bucket}/recording/stale"
    proxy.fail("stale-list", "GET", "", times=1000)
    record(url, through(proxy, moto_server))

    check(open_store(url, storage_options=moto_server.options()), tmp_path)


def test_a_store_is_made_by_the_first_run_although_it_was_away(
    moto_server: Server, proxy: Proxy, bucket: str, tmp_path: Path
) -> None:
    """What ships the records also makes the store, and knows then what its server can do."""
    url = f"s3://{bucket}/recording/{tmp_path.name}"
    given = {
        "store": url,
        "storage_options": through(proxy, moto_server),
        "capture": ("code",),
        "flush_interval_s": 1e6,
    }
    proxy.fail_from(0)
    with pytest.warns(RuntimeWarning, match="kept on this machine"):
        run = begin_run(Origin(), given)
    set_scope(run.recorder.root)
    tracker.log("x", 1)
    proxy.come_back()
    end_run(run)

    store = open_store(url, storage_options=moto_server.options(), create=False)
    assert tracker.dataframe("x", store=store)["x"].tolist() == [1]
    assert run.store.conditional_put


def begin(store: Store, folder: Path) -> Run:
    """A run into which this thread logs, with a store that is not asked twice."""
    settings = Settings(spool=str(folder / "spool"), flush_interval_s=3600.0, journal_bytes=16_384, capture=())
    run = Run(store, settings, Identity(project="p", script="s"), Recorder(), root=folder)
    set_scope(run.recorder.root)
    return run


def log_and_finish(run: Run) -> None:
    """Records for several journals, a commit in between, and the end."""
    for step in tracker.loop("step", range(100)):
        tracker.log("x", step)
        if step == 40:
            run.commit()
    run.finish()


def harmless(store: Store) -> bool:
    """Whether nothing is damaged or missing; these runs have no ``start.json``, because nothing of them is captured."""
    serious = [problem for problem in report_of(store).problems if problem.is_serious]
    problems = [problem for problem in serious if not problem.key.endswith("/start.json")]
    assert not problems
    return not problems


def values(store: Store) -> list[Any]:
    """All that was logged as ``x``."""
    return list(tracker.dataframe("x", store=store)["x"])


def test_from_every_request_on_nothing_may_answer(moto_server: Server, bucket: str, tmp_path: Path) -> None:
    """Wherever the network goes away for good, the run ends in order, and a recovery ships what is left."""
    number, was_away = 0, True
    while was_away:
        url, folder = f"s3://{bucket}/recording/away/{number}", tmp_path / str(number)
        with proxy_to(moto_server.endpoint) as failing:
            run = begin(open_store(url, storage_options=through(failing, moto_server), retry=NEVER), folder)
            failing.seen.clear()
            failing.fail_from(number)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # that the store is away
                log_and_finish(run)
            was_away = failing.count_faults() > 0
        direct = open_store(url, storage_options=moto_server.options())
        assert harmless(direct)
        bury(run)
        report = recover(direct, run.spool)
        assert not report.problems
        assert values(direct) == list(range(100)), f"away from request {number}"
        assert tracker.runs(store=direct)[0].status == "finished"
        assert harmless(direct)
        assert [path for path in folder.glob("spool/*/*/**/*") if path.is_file()] == []
        number += 1
    assert number > 5


def bury(run: Run) -> None:
    """Say of the journals in a spool that their process, this one, is dead."""
    import msgspec

    from tracker.store import frames

    for info in list(run.spool.list(f"runs/{run.id}/journal/")):
        data = run.spool.get(info.key)
        header, layout = frames.decode_header(data, key=info.key)
        dead = msgspec.structs.replace(header, writer=msgspec.structs.replace(header.writer, started=1.0))
        run.spool.put(info.key, frames.encode_header(dead, layout) + data[frames.HEADER_BYTES :])


@pytest.fixture
def left_behind(moto_server: Server, bucket: str, tmp_path: Path) -> tuple[Store, LocalStore]:
    """What a run left in a store that went away in its middle, and in its spool: journals, a checkpoint and its end."""
    with proxy_to(moto_server.endpoint) as failing:
        url = f"s3://{bucket}/recording/left-{tmp_path.name}"
        run = begin(open_store(url, storage_options=through(failing, moto_server), retry=NEVER), tmp_path / "origin")
        failing.fail_from(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            log_and_finish(run)
    bury(run)
    from tracker.store.objects import put_object

    put_object(run.spool, b"a payload")
    assert isinstance(run.spool, LocalStore)
    return open_store(url, storage_options=moto_server.options()), run.spool


@pytest.mark.parametrize(("fault", "is_last"), [("error", False), ("lost-reply", False), ("error", True)])
def test_every_request_of_a_recovery_may_fail(
    moto_server: Server, left_behind: tuple[Store, LocalStore], tmp_path: Path, fault: Kind, is_last: bool
) -> None:
    """Once, or for good: what was not shipped then is shipped by the next recovery, and nothing is lost or doubled."""
    origin, spool = left_behind
    number, failed = 0, True
    while failed:
        url, copy = f"{origin.url}-{fault}-{is_last}-{number}", tmp_path / f"copy-{number}"
        shutil.copytree(spool.root, copy)
        direct = open_store(url, storage_options=moto_server.options())
        for info in origin.list("runs/"):
            direct.put(info.key, origin.get(info.key))
        with proxy_to(moto_server.endpoint) as failing:
            target = open_store(url, storage_options=through(failing, moto_server), retry=NEVER if is_last else QUICK)
            failing.seen.clear()
            if is_last:
                failing.fail_from(number)
            else:
                failing.fail_at(number, fault)
            complete = recovered(target, LocalStore(copy))
            failed = failing.count_faults() > 0
        assert harmless(direct), f"after {fault} at request {number}"
        assert complete or is_last
        assert recovered(direct, LocalStore(copy))
        assert values(direct) == list(range(100))
        assert harmless(direct)
        assert [path for path in copy.glob("*/**/*") if path.is_file()] == []
        number += 1
    assert number > 3


def recovered(store: Store, spool: LocalStore) -> bool:
    """Whether a recovery could do all that there was to do."""
    from tracker.errors import Unavailable

    try:
        return not recover(store, spool).problems
    except Unavailable:
        return False
