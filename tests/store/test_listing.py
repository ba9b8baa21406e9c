"""Listings that are longer than memory should hold."""

from __future__ import annotations

import itertools

import pytest

from tests.store.dict_driver import DictDriver, remote
from tracker.errors import StoreUnavailable
from tracker.store import remote as remote_module
from tracker.store.base import Info
from tracker.store.remote import PIECE_KEYS

KEYS = [f"runs/{number:04}/run.json" for number in range(100)]


@pytest.fixture
def driver() -> DictDriver:
    driver = DictDriver()
    driver.keys = dict.fromkeys(reversed(KEYS), b"x")
    return driver


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PIECE_KEYS >= 1000
    monkeypatch.setattr(remote_module, "PIECE_KEYS", 30)


def names(infos: list[Info]) -> list[str]:
    return [info.key for info in infos]


def test_pieces_follow_each_other(driver: DictDriver) -> None:
    """Each begins behind the last key of the one before, and nothing is asked for before it is wanted."""
    listing = remote(driver).list("runs/")

    assert names(list(itertools.islice(listing, 30))) == KEYS[:30]
    assert driver.told == 31
    assert names(list(listing)) == KEYS[30:]
    assert driver.listed == ["", KEYS[29], KEYS[59], KEYS[89]]


def test_a_failure_repeats_one_piece(driver: DictDriver) -> None:
    """Keys that arrived before are not asked for again."""
    listing = remote(driver).list("runs/")
    begun = list(itertools.islice(listing, 31))
    driver.fail_after, driver.failures = 10, 1
    driver.listed.clear()

    assert names(begun + list(listing)) == KEYS
    assert driver.listed == [KEYS[59], KEYS[59], KEYS[89]]


def test_a_listing_that_goes_on_failing_is_told(driver: DictDriver) -> None:
    """Never a short listing in its place."""
    listing = remote(driver).list("runs/")
    begun = list(itertools.islice(listing, 30))
    driver.fail_after, driver.failures = 10, 100

    with pytest.raises(StoreUnavailable, match="listing runs/"):
        begun += listing
    assert names(begun) == KEYS[:30]


def test_a_server_that_does_not_sort(driver: DictDriver) -> None:
    """All is held in memory, and comes sorted."""
    driver.disorder = True

    assert names(list(remote(driver).list("runs/"))) == KEYS
    assert driver.listed == [""]


def test_a_client_that_cannot_begin_in_the_middle(driver: DictDriver) -> None:
    """It is asked once: to ask again would list all again."""
    driver.resumes = False

    assert names(list(remote(driver).list("runs/"))) == KEYS
    assert names(list(remote(driver).list("runs/", after=KEYS[70]))) == KEYS[71:]
    assert driver.listed == ["", KEYS[70]]


def test_names_that_are_no_keys_end_no_listing(driver: DictDriver) -> None:
    """Also a whole piece of them."""
    driver.keys |= dict.fromkeys((f"runs/0050//{number}" for number in range(70)), b"")

    assert names(list(remote(driver).list("runs/"))) == KEYS


def test_a_server_that_sorts_by_folders(driver: DictDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a piece ends, nothing is left behind: between two runs keys and folders come in one order."""
    names_of = [f"runs/{number:04}/data/{folder}/x" for number in range(40) for folder in ("a", "a-b", "c")]
    driver.keys = dict.fromkeys(names_of, b"x")
    driver.by_folders = True
    for piece in range(1, 10):
        monkeypatch.setattr(remote_module, "PIECE_KEYS", piece)
        assert names(list(remote(driver).list("runs/"))) == sorted(names_of)
