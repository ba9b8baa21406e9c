"""What every store promises, on every back end."""

from __future__ import annotations

import concurrent.futures
import os
from typing import Any

import pytest

from tests.conftest import STORES, remote
from tests.forking import run_in_child
from tracker.errors import BadKey, InputError, KeyExists, KeyNotFound
from tracker.store.base import Store
from tracker.store.open import open_store

ODD_KEYS = (
    "a b/c d",
    "a%2Eb/c%25",
    "ü/日本/é",
    "@run/epoch.step",
    "brackets[1]/{x}",
    "tilde~/plus+/and&/hash#",
    "equals=1,2/!'()",
    "^caret/`tick`",
)

pytestmark = pytest.mark.parametrize("address", remote(*STORES), indirect=True)


def test_what_was_put_is_got(store: Store) -> None:
    """A key gives back its bytes, also empty and large ones, and from a memory view."""
    large = os.urandom(3 << 20)

    store.put("a/empty", b"")
    store.put("a/large", memoryview(large))

    assert store.get("a/empty") == b""
    assert store.get("a/large") == large


def test_put_replaces(store: Store) -> None:
    """A second put is what a reader finds."""
    store.put("a/b", b"first, and longer")
    store.put("a/b", b"second")

    assert store.get("a/b") == b"second"
    assert [info.size_bytes for info in store.list("a/")] == [6]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_come_back_as_they_are(store: Store, key: str) -> None:
    """Spaces, percent signs, brackets and letters beyond ASCII survive in keys and listings."""
    store.put(key, b"x")

    assert store.get(key) == b"x"
    assert key in [info.key for info in store.list()]
    assert key.split("/")[0] in store.folders()
    store.delete([key])
    assert key not in [info.key for info in store.list()]


def test_create_refuses_a_taken_key(store: Store) -> None:
    """Create writes once; the second create changes nothing, even with equal bytes."""
    store.create("launches/a.json", b"mine")

    for other in (b"mine", b"theirs"):
        with pytest.raises(KeyExists, match=r"launches/a\.json"):
            store.create("launches/a.json", other)
    assert store.get("launches/a.json") == b"mine"


def test_create_after_delete(store: Store) -> None:
    """A deleted key is free again."""
    store.create("a/b", b"1")
    store.delete(["a/b"])
    store.create("a/b", b"2")

    assert store.get("a/b") == b"2"


def test_one_of_many_creators_wins(store: Store) -> None:
    """Threads that create one key at once: where the store says that it can tell, exactly one succeeds."""
    if not store.conditional_put:
        pytest.skip("this server cannot tell, and the store says so")

    def attempt(number: int) -> bool:
        try:
            store.create("launches/x.json", str(number).encode())
        except KeyExists:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(16)))

    assert won.count(True) == 1
    assert store.get("launches/x.json") == str(won.index(True)).encode()


def test_absent_keys_are_named(store: Store) -> None:
    """Whatever reads an absent key raises an error that names it, and that is also a ``FileNotFoundError``."""
    for read in (store.get, store.info, store.open, lambda key: store.get_range(key, 0, 5)):
        with pytest.raises(KeyNotFound, match="runs/nothing") as caught:
            read("runs/nothing")
        assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, 3, b"012"), (7, 3, b"789"), (8, 99, b"89"), (10, 5, b""), (99, 5, b""), (3, 0, b"")],
)
def test_ranges_are_clipped(store: Store, start: int, length: int, expected: bytes) -> None:
    """A range that reaches over the end gives what there is."""
    store.put("a/digits", b"0123456789")

    assert store.get_range("a/digits", start, length) == expected


def test_a_negative_range_is_refused(store: Store) -> None:
    """A range before the beginning is the caller's mistake."""
    store.put("a/b", b"x")

    with pytest.raises(InputError, match="from -1"):
        store.get_range("a/b", -1, 5)


@pytest.mark.parametrize("size", [0, 10, (1 << 20) - 1, 1 << 20, (2 << 20) + 17])
def test_open_reads_and_seeks(store: Store, size: int) -> None:
    """The reader is a seekable binary file, whether the bytes came at once or in ranges."""
    data = os.urandom(size)
    store.put("a/b", data)

    with store.open("a/b") as file:
        assert file.read() == data
        assert file.seek(0, os.SEEK_END) == size
        file.seek(size // 3)
        assert file.read(1000) == data[size // 3 :][:1000]
        assert file.read(-1) == data[size // 3 + 1000 :]
        file.seek(max(0, size - 8))
        assert file.read(100) == data[-8:]


def test_parquet_is_read_through_open(store: Store) -> None:
    """PyArrow reads a column from an opened key."""
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    table = pyarrow.table({"x": list(range(300_000)), "y": [os.urandom(8) for _ in range(300_000)]})
    pyarrow.parquet.write_table(table, sink)
    store.put("a.parquet", sink.getvalue())

    with store.open("a.parquet") as file:
        assert pyarrow.parquet.read_table(file, columns=["x"])["x"].to_pylist() == table["x"].to_pylist()


def test_delete_ignores_what_is_not_there(store: Store) -> None:
    """Deleting is idempotent and takes many keys at once."""
    names = [f"a/{number}" for number in range(30)]
    for name in names:
        store.put(name, b"x")

    store.delete(["a/nothing", *names, "no/such/folder/key"])
    store.delete([])

    assert list(store.list("a/")) == []


def test_listing_is_sorted_and_stays_below_its_prefix(store: Store) -> None:
    """Listings go by key, whatever the folders, and a prefix is a folder and not a beginning of names."""
    names = ["b/x", "b.json", "bb/x", "b-1/x", "b/sub/deep/key", "b/a"]
    for name in names:
        store.put(name, name.encode())

    listed = [info.key for info in store.list()]

    assert listed == sorted([*names, "format.json"])
    assert [info.key for info in store.list("b/")] == sorted(name for name in names if name.startswith("b/"))
    assert list(store.list("nothing/")) == []
    for after in ("b", "b/", "b/c", "b/c/", "b/cc", "c", "zz", *names):
        assert [info.key for info in store.list(after=after)] == [key for key in listed if key > after]
        behind = [name for name in sorted(names) if name > after and name.startswith("b/")]
        assert [info.key for info in store.list("b/", after=after)] == behind


def test_folders_names_direct_children_only(store: Store) -> None:
    """Folders are those directly below the prefix, each once."""
    for name in ("runs/a/run.json", "runs/a/data/x", "runs/b/run.json", "runs/file", "top"):
        store.put(name, b"x")

    assert [name for name in store.folders() if any(store.list(f"{name}/"))] == ["runs"]
    assert store.folders("runs/") == ["a", "b"]
    assert store.folders("nothing/") == []
    assert store.folders("runs/", after="a") == ["b"]
    assert store.folders("runs/", after="b") == []


def test_info_agrees_with_the_listing(store: Store) -> None:
    """Size and time are the same by key and by listing, and the time is a recent Unix time."""
    store.put("a/b", b"12345")

    info = store.info("a/b")

    listed = next(store.list("a/"))
    assert (info.key, info.size_bytes) == (listed.key, listed.size_bytes) == ("a/b", 5)
    assert info.modified is None or listed.modified is None or int(info.modified) == int(listed.modified)
    assert info.modified is None or info.modified > 1_600_000_000


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../../b", "a/", ".", "a\\b", "c:x", "a\nb", "x" * 1000])
def test_keys_that_could_leave_the_store_are_refused(store: Store, key: str) -> None:
    """No verb takes a key that is absolute, empty, too long or steps upwards."""
    for use in (store.get, store.info, store.open, store.local_path, lambda k: store.delete([k])):
        with pytest.raises(BadKey):
            use(key)
    for write in (store.put, store.create):
        with pytest.raises(BadKey):
            write(key, b"x")


@pytest.mark.parametrize("prefix", ["a", "/", "../", "a//"])
def test_prefixes_are_folders(store: Store, prefix: str) -> None:
    """A prefix without its slash, or one that leaves the store, is refused before anything is listed."""
    with pytest.raises(BadKey):
        list(store.list(prefix))
    with pytest.raises(BadKey):
        store.folders(prefix)


def test_stores_are_shared_by_address(store: Store, address: tuple[str, dict[str, Any]]) -> None:
    """What one opener writes, another one of the same address reads; the format file was written once."""
    url, options = address
    before = store.get("format.json")
    store.put("a/b", b"x")

    again = open_store(url, storage_options=options, create=False)

    assert again.get("a/b") == b"x"
    assert again.get("format.json") == before
    assert [info.key for info in again.list()] == ["a/b", "format.json"]


def test_threads_do_not_disturb_each_other(store: Store) -> None:
    """Sixteen threads write and read keys of their own through one store."""

    def work(number: int) -> bool:
        data = os.urandom(2000)
        store.put(f"a/{number}", data)
        return store.get(f"a/{number}") == data

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(48)))


def test_a_forked_child_uses_the_store(store: Store) -> None:
    """A child reads what its parent wrote and writes on its own; afterwards the parent's connection still works."""
    store.put("a/parent", b"p")

    assert run_in_child(lambda: store.put("a/child", store.get("a/parent") + b"c")) == 0

    store.put("a/after", b"x")
    assert store.get("a/after") == b"x"
    if "memory" not in store.url:
        assert store.get("a/child") == b"pc"
