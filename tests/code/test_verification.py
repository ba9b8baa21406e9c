"""A snapshot that is damaged or incomplete is found without checking it out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tracker.code.snapshot import take_snapshot
from tracker.code.verification import check_snapshot
from tracker.store import keys
from tracker.store.base import Store

if TYPE_CHECKING:
    from conftest import Repo


@pytest.fixture
def chain(repo: Repo, store: Store) -> list[str]:
    """Two snapshots, the second built on the first."""
    repo.write("src/net.py", os.urandom(5000).hex())
    first = take_snapshot(repo.folder, store)
    repo.write("train.py", "changed\n")
    return [first.snapshot or "", take_snapshot(repo.folder, store).snapshot or ""]


def test_whole_snapshots_have_no_problem(chain: list[str], store: Store) -> None:
    """Nothing is reported where nothing is wrong."""
    assert [check_snapshot(store, snapshot) for snapshot in chain] == [[], []]


def test_what_is_missing_is_named(chain: list[str], store: Store) -> None:
    """A base that is gone is told of the snapshot that needs it."""
    store.delete([keys.code_bundle(chain[0])])

    assert check_snapshot(store, chain[1]) == [
        f"the code snapshot {chain[1]} needs {chain[0]}, which is not in the store"
    ]
    assert len(check_snapshot(store, chain[0])) == len(check_snapshot(store, "0" * 40)) == 1


@pytest.mark.parametrize("place", [0, -1, -60])
def test_every_changed_byte_is_noticed(chain: list[str], store: Store, place: int) -> None:
    """Header, content and check-sum of a bundle are all covered."""
    key = keys.code_bundle(chain[0])
    data = bytearray(store.get(key))
    data[place] ^= 1
    store.put(key, bytes(data))

    assert len(check_snapshot(store, chain[0])) == 1


def test_files_of_a_plain_folder(store: Store, tmp_path: Path) -> None:
    """Each file that is missing or changed is named with its path."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.py").write_text("a")
    snapshot = take_snapshot(tmp_path / "plain", store).snapshot or ""
    (info,) = store.list("objects/")
    assert check_snapshot(store, snapshot) == []

    store.put(info.key, b"other")

    assert "a.py of the code snapshot" in check_snapshot(store, snapshot)[0]
    assert check_snapshot(store, snapshot, objects=False) == []
