"""Keys and ids: unique, sorted by time, and never leading out of the store."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import BadKey
from tracker.store import ids, keys
from tracker.store.keys import JournalKey, SegmentKey

RUN, SHARD = "01m7y40ah9ecbr8p21k57jpaxd", "01m7y40ah9ecc9474htx7nd0sj"


def test_ids_increase_and_say_their_time() -> None:
    """More of them than a millisecond's counter holds, and the time is that of their making."""
    before = time.time_ns() // 1_000_000
    made = [ids.new_id() for _ in range(20_000)]

    assert made == sorted(set(made))
    assert before <= ids.created_ms(made[0]) <= time.time_ns() // 1_000_000
    assert all(ids.is_id(each) and len(each) == 26 for each in made)


def test_ids_of_threads_and_forked_processes_are_unique() -> None:
    """Eight threads here, and a child that was forked in the middle of the sequence."""
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(ids.new_id() for _ in range(2000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    code = "import os\nfrom tracker.store import ids\nids.new_id(); pid = os.fork()\n"
    code += (
        "made = [ids.new_id() for _ in range(2000)]\nif pid: os.waitpid(pid, 0)\nprint(*made, sep='\\n', flush=True)"
    )
    made += subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert len(set(made)) == len(made) == 20_000


@pytest.mark.parametrize(
    "text", ["", "x", RUN.upper(), RUN[:-1], RUN + "0", "8" + RUN[1:], RUN[:-1] + "u", RUN[:-1] + "/"]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """Folders of a run are never built from anything else."""
    assert not ids.is_id(text)
    with pytest.raises(BadKey, match="not a run id"):
        keys.run_folder(text)
    with pytest.raises(BadKey):
        ids.created_ms(text)


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "c:a", "a\nb", "a\x00", "a?", "a*", "x" * 901, "\ud800"],
)
def test_keys_that_are_unsafe_are_refused(key: str) -> None:
    """Neither outside of the store nor with a name that some file system cannot have."""
    with pytest.raises(BadKey, match="is not a key"):
        keys.check(key)


NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60), max_size=8)


@given(NAMES, NAMES)
def test_paths_of_any_loops_are_safe_short_and_distinct(first: list[str], second: list[str]) -> None:
    """Whatever a loop is called, its folder has a name of its own that every file system takes."""
    parts = [keys.path_part(first), keys.path_part(second)]

    for part in parts:
        assert len(os.fsencode(part)) <= 200
        key = SegmentKey(RUN, part, SHARD, 0, 9)
        assert SegmentKey.parse(keys.check(str(key))) == key
    assert (parts[0] == parts[1]) == (first == second)


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 40))
def test_segment_keys_say_what_they_cover(first: int, last: int, part: int) -> None:
    """The parsed key is the key; wider ranges of the same shard and path cover."""
    key = SegmentKey(RUN, "epoch.step", f"{SHARD}_0000abcd", first, last, part)

    assert SegmentKey.parse(str(key)) == key
    assert key.attempt == SHARD
    assert key.covers(key)
    assert SegmentKey(RUN, "epoch.step", key.shard, 0, last + 1).covers(key)
    assert not SegmentKey(RUN, "epoch", key.shard, 0, last + 1).covers(key)
    assert JournalKey.parse(str(JournalKey(RUN, key.shard, first))) == JournalKey(RUN, key.shard, first)


@pytest.mark.parametrize(
    "name",
    ["x.parquet", f"{SHARD}-0-1.parquet", f"{SHARD}-0000000000.journal", f"{SHARD[:-1]}-0000000000-0000000001.parquet"],
)
def test_strangers_are_no_segments(name: str) -> None:
    """Other files below a run's data are passed over."""
    assert SegmentKey.parse(f"runs/{RUN}/data/epoch/{name}") is None
    assert SegmentKey.parse(f"runs/{RUN}/data/deeper/epoch/{name}") is None


def test_hashes_and_documents_have_checked_names() -> None:
    """Nothing of a store's content is used in a key as it is."""
    assert keys.object_key("ab" * 32) == f"objects/ab/{'ab' * 32}"
    for digest in ("", "../x", "AB" * 32, "ab" * 31):
        with pytest.raises(BadKey, match="not a BLAKE3 hash"):
            keys.object_key(digest)
    with pytest.raises(BadKey, match="not a document"):
        keys.attempt_document(RUN, SHARD, "other")
    assert keys.launch_document("../../etc").startswith("launches/")
