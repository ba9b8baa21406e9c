"""The store in a folder: atomic and durable, inside its root, and clear about what the machine refuses."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forking import fork, kill, run_in_child
from tracker.errors import BadKey, KeyExists, KeyNotFound, StoreFull, StoreReadOnly
from tracker.store import durable
from tracker.store.local import LocalStore
from tracker.store.open import open_store


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    yield from _mounted(tmp_path / "disk", "size=512k")


def _mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting needs a privilege that this user does not have")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_named_and_leaves_no_rubbish(small_disk: Path) -> None:
    """What does not fit raises ``StoreFull`` with the key and the free bytes; neighbours and old bytes stay."""
    store = open_store(small_disk / "store")
    store.put("a/old", b"x" * 100_000)

    with pytest.raises(StoreFull, match=r"a/old.*bytes are free.*free some space"):
        store.put("a/old", b"y" * 1_000_000)
    with pytest.raises(StoreFull, match="a/new"):
        store.create("a/new", b"y" * 1_000_000)

    assert store.get("a/old") == b"x" * 100_000
    assert [info.key for info in store.list()] == ["a/old", "format.json"]
    assert list(durable.leftovers(small_disk)) == []
    store.put("a/small", b"fits")


def test_a_file_size_limit_is_a_full_disk(store: LocalStore) -> None:
    """A quota that shows as a limit on file sizes is reported in the same way."""

    def write() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            store.put("a/b", b"x" * 50_000)
        except StoreFull:
            return 42
        return 1

    assert run_in_child(write) == 42
    assert list(store.list()) == []


def test_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    """A store that is mounted read-only can be read, and says why it cannot be written."""
    for folder in _mounted(tmp_path / "disk", "size=1m"):
        store = open_store(folder / "store")
        store.put("a/b", b"x")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)

        assert open_store(folder / "store", create=False).get("a/b") == b"x"
        for write in (store.put, store.create):
            with pytest.raises(StoreReadOnly, match=r"a/c.*Read-only file system.*mounted"):
                write("a/c", b"y")
        with pytest.raises(StoreReadOnly):
            store.delete(["a/b"])
        with pytest.raises(StoreReadOnly):
            open_store(folder / "other")


def test_a_folder_of_somebody_else_is_named(tmp_path: Path) -> None:
    """Without the right to write, or to read, the error is ours and says what to check."""
    store = open_store(tmp_path / "store")
    store.put("a/b", b"x")
    os.chmod(tmp_path / "store/a/b", 0o000)
    os.chmod(tmp_path / "store/a", 0o555)
    script = (
        "import os, sys; from tracker.errors import StoreReadOnly; from tracker.store.local import LocalStore\n"
        "store = LocalStore(sys.argv[1])\n"
        "if os.geteuid() == 0: os.chmod(os.path.dirname(sys.argv[1]), 0o755); os.setgid(65534); os.setuid(65534)\n"
        "for use in (lambda: store.put('a/c', b'y'), lambda: store.get('a/b'), lambda: store.put('new/c', b'y')):\n"
        "    try: use()\n"
        "    except StoreReadOnly as exc: print('permissions' in str(exc))\n"
    )

    shown = subprocess.run([sys.executable, "-c", script, store.url], check=True, capture_output=True, text=True)

    assert shown.stdout.split() == ["True"] * 3


def test_links_lead_nowhere(store: LocalStore, tmp_path: Path) -> None:
    """Links in a hostile store are followed neither for reading, writing, listing nor deleting."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    store.put("a/b", b"x")
    (store.root / "runs").symlink_to(outside)
    (store.root / "a/link").symlink_to(outside / "secret")

    for use in (
        store.get,
        store.open,
        store.info,
        lambda key: store.put(key, b"y"),
        lambda key: store.create(key, b"y"),
    ):
        with pytest.raises(BadKey, match="symbolic link"):
            use("runs/secret")
    for read in (store.get, store.open, store.info):
        with pytest.raises((BadKey, KeyNotFound)):
            read("a/link")
    with pytest.raises(BadKey):
        store.delete(["runs/secret"])
    store.put("a/link", b"replaces the link itself")

    assert (outside / "secret").read_text() == "secret"
    assert [info.key for info in store.list()] == ["a/b", "a/link"]
    assert store.folders() == ["a"]


def test_a_root_behind_a_link_is_fine(tmp_path: Path) -> None:
    """The folder of a store may itself be reached through a link, as homes on clusters are."""
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "real")

    open_store(tmp_path / "home/store").put("a/b", b"x")

    assert (tmp_path / "real/store/a/b").read_bytes() == b"x"


def test_pipes_and_folders_are_not_keys(store: LocalStore) -> None:
    """A named pipe in a store does not hang a reader, and a folder is not a key."""
    store.put("a/b/c", b"x")
    os.mkfifo(store.root / "a/pipe")

    for key in ("a/pipe", "a/b"):
        for read in (store.get, store.info, store.open):
            with pytest.raises(KeyNotFound, match=key):
                read(key)
    assert [info.key for info in store.list()] == ["a/b/c"]


def test_a_key_below_a_key_is_refused(store: LocalStore) -> None:
    """A file system cannot hold ``a`` and ``a/b``, and says so instead of looking full or forbidden."""
    store.put("a/b", b"x")

    for key in ("a/b/c", "a"):
        for write in (store.put, store.create):
            with pytest.raises(BadKey, match="folder"):
                write(key, b"y")
    assert store.get("a/b") == b"x"


def test_names_that_cannot_be_keys_are_not_listed(store: LocalStore) -> None:
    """Files that others put into the folder, with names that no key has, disturb nothing."""
    store.put("a/b", b"x")
    for name in (b"a/with:colon", b"a/not-utf8-\xff", b"a/line\nbreak", b"a/.tmp-0123"):
        (store.root / os.fsdecode(name)).write_bytes(b"")

    assert [info.key for info in store.list()] == ["a/b"]


def test_a_kill_in_the_middle_of_writing_leaves_whole_values(store: LocalStore) -> None:
    """Writers that are killed at random moments leave the old bytes or the new ones, and only known rubbish."""
    values = [bytes([number]) * 300_000 for number in range(4)]
    store.put("a/b", values[0])
    for _ in range(12):
        ready, started = os.pipe()
        child = fork()
        if child == 0:
            try:
                os.write(started, b"x")
                while True:
                    for value in values:
                        store.put("a/b", value)
            finally:
                os._exit(1)
        try:
            os.read(ready, 1)
            for _ in range(20):
                assert store.get("a/b") in values
        finally:
            kill(child)
            os.close(ready)
            os.close(started)

        assert store.get("a/b") in values
    assert [info.key for info in store.list()] == ["a/b"]
    assert all(path.name.startswith(durable.TEMPORARY) for path in (store.root / "a").iterdir() if path.name != "b")


def test_of_many_processes_one_creates(store: LocalStore) -> None:
    """Processes that race to create fifty keys: each key has one winner, and its whole bytes."""
    winners = []
    for name in range(4):
        read, write = os.pipe()
        child = fork()
        if child == 0:
            try:
                _create_all(store, name, write)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(write)
        winners.append((name, child, read))
    won = {name: [*os.read(read, 100)] if os.waitpid(child, 0)[1] == 0 else None for name, child, read in winners}

    assert sorted(number for numbers in won.values() for number in numbers or []) == list(range(50))
    for name, numbers in won.items():
        assert all(store.get(f"a/{number}") == bytes([name]) * 1000 for number in numbers or [])


def _create_all(store: LocalStore, name: int, report: int) -> None:
    for number in range(50):
        try:
            store.create(f"a/{number}", bytes([name]) * 1000)
        except KeyExists:
            continue
        os.write(report, bytes([number]))


def test_without_hard_links_a_create_is_still_exclusive(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems that refuse hard links the name is reserved first, and one writer wins."""

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # as FAT and some network file systems answer
    store.create("a/b", b"first")

    with pytest.raises(KeyExists):
        store.create("a/b", b"second")
    assert store.get("a/b") == b"first"
    assert list(durable.leftovers(store.root)) == []


def test_a_link_whose_reply_was_lost_is_our_own(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS repeats a link that succeeded and then reports a conflict; the count of links tells the truth."""
    link = os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    store.create("a/b", b"first")
    monkeypatch.undo()

    assert store.get("a/b") == b"first"
    with pytest.raises(KeyExists):
        store.create("a/b", b"first")


def test_a_folder_that_disappears_is_made_again(store: LocalStore) -> None:
    """Deleting a run's folder while another process writes there does not fail the writer."""
    store.put("a/b/c", b"x")
    shutil.rmtree(store.root)

    store.put("a/b/c", b"y")

    assert store.get("a/b/c") == b"y"


def test_too_many_open_files_is_no_missing_key(store: LocalStore) -> None:
    """Running out of descriptors is not taken for an absent key."""
    store.put("a/b", b"x")
    script = (
        "import resource, sys; from tracker.errors import StoreUnavailable\n"
        "from tracker.store.local import LocalStore\n"
        "store = LocalStore(sys.argv[1]); resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)); held = []\n"
        "try:\n"
        "    while True: held.append(store.open('a/b'))\n"
        "except StoreUnavailable as exc: print('Too many open files' in str(exc))\n"
    )

    shown = subprocess.run([sys.executable, "-c", script, store.url], check=True, capture_output=True, text=True)

    assert shown.stdout.strip() == "True"
