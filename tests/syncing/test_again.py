"""Stores that have met before, on a machine that remembers nothing of it."""

from __future__ import annotations

import pytest

from tests.read.building import It, Logged, log_run
from tests.store.dict_driver import DictDriver, remote
from tests.syncing.stores import contents
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import Format, RunDocument, decode, encode
from tracker.syncing.stores import sync
from tracker.upkeep.compaction import compact

_RUNS = 70


@pytest.fixture
def drivers() -> tuple[DictDriver, DictDriver]:
    """A source and a target that has all of it, and an index."""
    pair = DictDriver(), DictDriver()
    for driver in pair:
        driver.keys[keys.FORMAT] = encode(Format(created=1.0, writer="test", conditional_put=True))
    source, target = stores(pair)
    for number in range(_RUNS):
        log_run(source, Logged((It("epoch", 0),), "loss", number), tags=("a",))
    sync(source, target)
    compact(target)
    for driver in pair:
        driver.got_keys, driver.put_keys = [], []
    return pair


def stores(drivers: tuple[DictDriver, DictDriver]) -> tuple[Store, Store]:
    """The two of them."""
    return remote(drivers[0], "dict://source"), remote(drivers[1], "dict://target")


@pytest.mark.parametrize("etags", [(True, True), (False, True), (False, False)])
def test_what_is_the_same_is_not_written(drivers: tuple[DictDriver, DictDriver], etags: tuple[bool, bool]) -> None:
    """Nor read, where the servers tell; and no run is said to have changed, so the index stays as good as it was."""
    drivers[0].etags, drivers[1].etags = etags
    source, target = stores(drivers)

    summary = sync(source, target, full=True)

    assert (summary.runs, summary.keys, summary.changed) == (_RUNS, 0, [])
    assert not [key for key in drivers[1].put_keys if not key.startswith((keys.HOLDS, ".probe"))]
    read = [key for key in drivers[1].got_keys if key.startswith(keys.RUNS)]
    assert len(read) == (0 if etags[1] else 2 * _RUNS)
    assert bool([key for key in drivers[0].got_keys if key.startswith(keys.RUNS)]) == (not etags[0])


@pytest.mark.parametrize("etags", [True, False])
def test_documents_of_one_size_are_merged(drivers: tuple[DictDriver, DictDriver], etags: bool) -> None:
    """The size does not tell that they are the same."""
    drivers[0].etags = drivers[1].etags = etags
    source, target = stores(drivers)
    key = next(key for key in drivers[1].keys if key.endswith("/run.json"))
    drivers[1].keys[key] = drivers[1].keys[key].replace(b'"a"', b'"b"')
    assert drivers[0].keys[key] != drivers[1].keys[key]

    summary = sync(source, target, full=True)

    assert decode(drivers[1].keys[key], RunDocument, key=key).tags == ("a", "b")
    assert summary.changed == [key.split("/")[1]]
    sync(target, source, full=True)
    assert contents(source) == contents(target)
