"""Opening a store by its address, and the format that it then has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import remote
from tracker.errors import BadSetting, DamagedDocument, NewerFormat, NotFound
from tracker.store.documents import Format, decode, encode
from tracker.store.local import LocalStore
from tracker.store.open import connect, open_store

FORMAT = "format.json"


def test_folders_and_file_urls_are_the_same_store(tmp_path: Path) -> None:
    """A path, a ``Path`` and ``file:`` URLs lead to one place; percent escapes in URLs are decoded."""
    folder = tmp_path / "with space"

    addresses = [str(folder), folder, folder.as_uri(), f"file:{folder}", f"file://localhost{folder}"]

    assert {open_store(address).url for address in addresses} == {str(folder)}


def test_a_relative_folder_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that changes its folder keeps writing into the store it opened."""
    monkeypatch.chdir(tmp_path)
    store = open_store("runs.d")
    monkeypatch.chdir("/")

    store.put("a/b", b"x")

    assert (tmp_path / "runs.d/a/b").read_bytes() == b"x"


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` in a setting means what it means in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert connect("~/store").url == str(tmp_path / "store")


@pytest.mark.parametrize("url", ["", "  ", "file://server/share", "nonsense://x/y", "nonsense:x"])
def test_impossible_addresses_are_refused(url: str) -> None:
    """What is no address says what would be one."""
    with pytest.raises(BadSetting, match=r"expected|plain path"):
        open_store(url)


def test_the_format_is_written_once(tmp_path: Path) -> None:
    """The first opening creates the format, later ones leave it alone."""
    before = open_store(tmp_path / "s").get(FORMAT)

    assert open_store(tmp_path / "s").get(FORMAT) == before
    assert decode(before, Format, key=FORMAT).format == 1


@pytest.mark.parametrize("address", remote("local", "memory", "fsspec-memory"), indirect=True)
def test_reading_never_creates(address: tuple[str, dict[str, Any]]) -> None:
    """``create=False`` raises where there is no store, and again, because nothing was written."""
    url, options = address
    for _ in range(2):
        with pytest.raises(NotFound, match="appears with the first run"):
            open_store(url, storage_options=options, create=False)
    assert not Path(url).exists()


@pytest.mark.parametrize("create", [True, False])
def test_a_newer_format_is_refused(tmp_path: Path, create: bool) -> None:
    """A store of a later version says who wrote it and how to read it."""
    store = LocalStore(tmp_path)
    store.put(FORMAT, encode(Format(format=2, created=0.0, writer="hindsight 9.0", conditional_put=True)))

    with pytest.raises(NewerFormat, match=r"format 2, written by hindsight 9\.0.*pip install -U"):
        open_store(tmp_path, create=create)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format": "one"}', b"\xff\xfe"])
def test_a_damaged_format_is_named(tmp_path: Path, data: bytes) -> None:
    """A format file that cannot be read is never replaced in silence."""
    LocalStore(tmp_path).put(FORMAT, data)

    with pytest.raises(DamagedDocument, match=FORMAT):
        open_store(tmp_path)
    assert (tmp_path / FORMAT).read_bytes() == data


def test_fields_of_later_minor_versions_are_ignored(tmp_path: Path) -> None:
    """Unknown fields do not keep a reader out."""
    document = {"format": 1, "created": 0.0, "writer": "w", "conditional_put": True, "later": [1]}
    LocalStore(tmp_path).put(FORMAT, msgspec.json.encode(document))

    assert open_store(tmp_path).conditional_put


def test_many_processes_create_one_store(tmp_path: Path) -> None:
    """Processes that open a new store at once agree on one format, and none fails."""
    script = f"from tracker.store.open import open_store; print(open_store({str(tmp_path / 's')!r}).get('format.json'))"
    processes = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(6)]

    outputs = {process.communicate()[0] for process in processes}

    assert [process.returncode for process in processes] == [0] * 6
    assert len(outputs) == 1


def test_a_local_store_needs_no_heavy_library(tmp_path: Path) -> None:
    """Opening a local store imports neither fsspec nor pyarrow nor tenacity, so that the first log is quick."""
    script = (
        f"import sys; from tracker.store.open import open_store; open_store({str(tmp_path)!r}); "
        "print(*{'fsspec', 'pyarrow', 'tenacity', 'numpy', 's3fs', 'obstore', 'asyncio'} & set(sys.modules))"
    )

    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    assert shown.split() == []


@pytest.mark.s3
@pytest.mark.parametrize("address", remote("obstore", "s3fs", "fsspec"), indirect=True)
def test_conditional_puts_are_found_out(address: tuple[str, dict[str, Any]]) -> None:
    """A server that refuses a second create-only put is known as one, and the probe leaves nothing behind."""
    store = open_store(address[0], storage_options=address[1])

    assert store.conditional_put
    assert [info.key for info in store.list()] == [FORMAT]


@pytest.mark.s3
@pytest.mark.parametrize("address", remote("rclone-obstore", "rclone-s3fs"), indirect=True)
def test_ignored_conditions_are_found_out(address: tuple[str, dict[str, Any]]) -> None:
    """A server that accepts the second create-only put is not trusted with it."""
    store = open_store(address[0], storage_options=address[1])

    assert not store.conditional_put
    assert not decode(store.get(FORMAT), Format, key=FORMAT).conditional_put


@pytest.mark.s3
@pytest.mark.parametrize("address", remote("rclone-obstore"), indirect=True)
def test_a_store_that_moved_is_probed_again(address: tuple[str, dict[str, Any]]) -> None:
    """A format file that was copied from a better server is not believed on this one."""
    url, options = address
    copied = Format(created=0.0, writer="w", conditional_put=True, probed_at="s3://elsewhere")
    connect(url, storage_options=options).put(FORMAT, encode(copied))

    assert not open_store(url, storage_options=options).conditional_put
    assert os.fspath(url).startswith("s3://")
