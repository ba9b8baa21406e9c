"""A source that somebody else controls: nothing is written outside the target, executed, or believed without proof."""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zlib
from pathlib import Path

import pytest

import tracker
from tests.store.journaling import journal_of
from tests.syncing.stores import contents, copy_of, small_run, sound
from tracker.read.notices import DamageWarning
from tracker.store import documents, frames, keys
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, CodeFile, Snapshot, encode
from tracker.store.ids import new_id
from tracker.store.journals import decode_journal
from tracker.store.local import LocalStore
from tracker.store.memory import _contents
from tracker.store.open import open_store
from tracker.syncing.stores import sync


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one run."""
    folder = tmp_path_factory.mktemp("good") / "store"
    small_run(folder)
    return folder


@pytest.fixture
def source(good: Path, tmp_path: Path) -> LocalStore:
    """A copy of it to spoil."""
    opened = open_store(copy_of(good, tmp_path / "source"))
    assert isinstance(opened, LocalStore)
    return opened


@pytest.fixture
def target(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "inside" / "target")


def everything(folder: Path) -> set[str]:
    """Every path below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped",
        "runs/../../../escaped",
        "/etc/escaped",
        "runs\\..\\escaped",
        "objects/aa/.tmp-x",
        "runs/x/y",
        "code/..json",
        "objects/zz/escaped",
        "hooks/post-checkout",
        "a" * 2000,
    ],
)
def test_names_that_lead_elsewhere_are_not_copied(target: Store, tmp_path: Path, name: str) -> None:
    """Whatever a server says that its keys are called; the good ones arrive."""
    place = f"hostile-{os.urandom(4).hex()}"
    opened = open_store(f"memory://{place}")
    run = small_run(opened.url)
    _contents[place][name] = (b"x", 0.0)
    before = everything(tmp_path)

    sync(opened, target)

    assert target.folders(keys.RUNS) == [run]
    assert name not in contents(target)
    assert all(path.startswith(("inside", "cache")) for path in everything(tmp_path) - before)
    assert sound(target)


def test_links_of_a_source_are_not_followed(source: LocalStore, target: Store, tmp_path: Path) -> None:
    """A link to a file of the reader's does not bring that file into the target."""
    (tmp_path / "secret").write_text("of the reader")
    run = source.folders(keys.RUNS)[0]
    (source.root / "runs" / run / "attempts" / "more").symlink_to(tmp_path)
    (source.root / "objects" / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(source.root / "runs" / run / "pipe.json")

    sync(source, target)

    assert not any(b"of the reader" in data for data in contents(target).values())


@pytest.mark.parametrize("name", ["../../../escaped", "..", "a/../../b", "x" * 3000, "\0", ""])
def test_documents_that_name_bad_keys_are_held_back(
    source: LocalStore, target: Store, name: str, tmp_path: Path
) -> None:
    """A snapshot's name becomes a key, so it is checked before it is asked for."""
    run = source.folders(keys.RUNS)[0]
    attempt = source.folders(keys.attempts_folder(run))[0]
    source.put(keys.attempt_document(run, attempt, "code"), encode(CodeDocument(snapshot=name or ".")))
    before = everything(tmp_path / "inside")

    summary = sync(source, target)

    assert [key for key in summary.problems if key.endswith("code.json")]
    assert sound(target)
    assert all(path.startswith("target") for path in everything(tmp_path / "inside") - before)


def test_an_object_of_another_hash_does_not_replace_a_good_one(source: LocalStore, target: Store) -> None:
    """The bytes decide, not the name."""
    sync(source, target)
    object_key = next(info.key for info in source.list(keys.OBJECTS))
    good = target.get(object_key)
    source.put(object_key, b"evil" * 10_000)

    sync(source, target, full=True)

    assert target.get(object_key) == good


def test_a_pickle_is_bytes(source: LocalStore, target: Store, tmp_path: Path) -> None:
    """Nothing in a source is loaded in a way that could run code."""

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/executed",)

    from tracker.store.objects import put_object

    data = pickle.dumps(Evil())
    digest = put_object(source, data)
    snapshot = "0" * 64
    file = CodeFile(path="../../evil.py", digest=digest, size_bytes=len(data))
    found = Snapshot(snapshot=snapshot, kind="files", created=0.0, size_bytes=1, files=(file,))
    source.put(keys.code_document(snapshot), encode(found))

    assert sync(source, target).complete
    assert target.get(keys.object_key(digest)) == data
    assert not (tmp_path / "executed").exists()


def test_sizes_that_cannot_be_are_refused(source: LocalStore, target: Store) -> None:
    """A document of terabytes is not read into memory, and an object is not believed to fit."""
    run = source.folders(keys.RUNS)[0]
    document = source.root / keys.run_document(run)
    with document.open("ab") as file:
        file.truncate(1 << 40)  # a sparse file
    some_object = source.root / next(info.key for info in source.list(keys.OBJECTS))
    with some_object.open("ab") as file:
        file.truncate((1 << 43) + 1)

    summary = sync(source, target)

    assert keys.run_document(run) in summary.problems
    assert not summary.complete


def test_a_document_of_another_run_is_held_back(source: LocalStore, target: Store) -> None:
    """A key must be the one that its document tells."""
    run = source.folders(keys.RUNS)[0]
    other = new_id()
    source.put(keys.run_document(other), source.get(keys.run_document(run)))

    summary = sync(source, target)

    assert other not in target.folders(keys.RUNS)
    assert keys.run_document(other) in summary.problems


def test_a_segment_of_another_run_is_held_back(source: LocalStore, target: Store) -> None:
    """As is one that is no segment at all."""
    run = source.folders(keys.RUNS)[0]
    segment = next(info.key for info in source.list(keys.data_folder(run)))
    name = segment.rsplit("/", 1)[1]
    source.put(f"{keys.data_folder(run)}another/{name}", source.get(segment))
    source.put(f"{keys.data_folder(run)}rubbish/{name}", b"PAR1 rubbish PAR1")

    summary = sync(source, target)

    assert len(summary.problems) == 2
    assert sound(target)


def test_the_target_loses_nothing_to_a_source_that_claims_more(source: LocalStore, target: Store) -> None:
    """A segment that pretends to cover those of the target removes none of them, and no end is undone."""
    sync(source, target)
    before = contents(target)
    run = source.folders(keys.RUNS)[0]
    attempt = source.folders(keys.attempts_folder(run))[0]
    for info in list(source.list(keys.data_folder(run))):
        named = keys.SegmentKey.parse(info.key)
        assert named is not None
        wide = keys.SegmentKey(named.run, named.path, named.shard, 0, 10**12)
        source.put(str(wide), source.get(info.key))
    source.delete([keys.attempt_document(run, attempt, "end")])
    source.put(keys.attempt_document(run, attempt, "lease"), b'{"writer": 3}')

    sync(source, target)

    assert contents(target).items() >= before.items()


def test_bundles_that_build_on_each_other_end(source: LocalStore, target: Store) -> None:
    """A ring of code snapshots is no reason to go on for ever."""
    names = ["a" * 40, "b" * 40]
    for name, other in zip(names, reversed(names), strict=True):
        document = Snapshot(snapshot=name, kind="git", created=0.0, size_bytes=1)
        source.put(keys.code_document(name), encode(document))
        source.put(keys.code_bundle(name), f"# v2 git bundle\n-{other} x\n{name} y\n\nPACK".encode())

    summary = sync(source, target)

    assert not summary.complete
    assert sound(target)


class Evil:
    """Its pickle runs a command when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("what", ["extension", "kind", "labels", "table", "no role"])
def test_the_metadata_of_a_table_is_only_data(source: LocalStore, target: Store, tmp_path: Path, what: str) -> None:
    """Types that bring a pickle along, unknown kinds and JSON without end: one table less, and the rest is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    run = source.folders(keys.RUNS)[0]
    key = next(info.key for info in source.list(f"{keys.data_folder(run)}epoch.step/"))
    table = pq.read_table(source.root / key)
    fields, metadata = [], dict(table.schema.metadata)
    for field in table.schema:
        about = dict(field.metadata or {})
        if what == "extension":
            about |= {b"ARROW:extension:name": b"arrow.py_extension_type"}
            about |= {b"ARROW:extension:metadata": pickle.dumps(Evil(tmp_path / "executed"))}
        about |= {b"kind": b"pickle"} if what == "kind" and b"kind" in about else {}
        about |= {b"labels": b"[" * 100_000} if what == "labels" else {}
        about.pop(b"role" if what == "no role" else b"", None)
        fields.append(field.with_metadata(about))
    if what == "table":
        metadata = {name: b"[" * 100_000 for name in metadata}
    pq.write_table(pa.table(table.columns, schema=pa.schema(fields, metadata=metadata)), source.root / key)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)
        assert tracker.dataframe("seed", store=source)["seed"].tolist()
        list(tracker.reader(source).read())
        list(tracker.reader(source).sql("select * from records"))
    sync(source, target)

    assert not (tmp_path / "executed").exists()


def test_a_journal_under_the_name_of_another_is_not_sealed(source: LocalStore, tmp_path: Path) -> None:
    """A recovery makes records of a run from that run's journals alone."""
    from tests.store.journaling import small_journal
    from tracker.store.recovery import recover

    run, other = source.folders(keys.RUNS)[0], new_id()
    source.put(f"{keys.journal_folder(run)}{other}-0000000000.journal", small_journal(tmp_path / "another"))
    before = contents(source)

    report = recover(source, source)

    assert [text for text in report.problems.values() if "copied or renamed" in text]
    assert contents(source) == before


def test_json_that_nests_without_end_is_told(source: LocalStore, target: Store) -> None:
    """A document that no parser should descend into is damage like any other."""
    run = source.folders(keys.RUNS)[0]
    attempt = source.folders(keys.attempts_folder(run))[0]
    key = keys.attempt_document(run, attempt, "end")
    source.put(key, b'{"summary": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}")

    assert key in sync(source, target).problems
    assert json.loads(target.get(keys.run_document(run)))["run"] == run
    assert documents.FORMAT_NUMBER == 1


def open_journal(folder: Path) -> tuple[str, bytearray]:
    """The key and the bytes of a journal with one loop."""
    with tracker.run(store=folder, capture=()) as run:
        for step in tracker.loop("a long name of a loop, to be written over" * 3, range(3)):
            tracker.log("loss", step)
        data = journal_of(run).read_bytes()
    header = decode_journal(data, key="a journal").header
    return str(keys.JournalKey(header.run, header.shard, header.first)), bytearray(data)


def test_a_journal_of_a_newer_version_stops_no_other_run(source: LocalStore, target: Store, tmp_path: Path) -> None:
    """It is told, and all else arrives."""
    key, data = open_journal(tmp_path / "another")
    data[6:8] = b"99"
    source.put(key, bytes(data))

    summary = sync(source, target)

    assert "b'99'" in summary.problems[key]
    assert len(target.folders(keys.RUNS)) == 1
    assert sound(target)


def test_numbers_beyond_64_bits_in_a_journal_are_a_lost_name(source: LocalStore, target: Store, tmp_path: Path) -> None:
    """Whoever reads or copies the records under it goes on with the others."""
    key, data = open_journal(tmp_path / "another")
    found = decode_journal(bytes(data), key=key)
    slot = next(int(slot) for slot in (found.kind == frames.NAME).nonzero()[0] if b"long" in found.payload(int(slot)))
    length, offset = divmod(int(found.value[slot]), 1 << 32)
    text = json.dumps({"name": "a", "role": "loop", "start": 10**30, "stride": 1}).encode().ljust(length)
    start = found.layout.heap_start + offset
    data[start : start + length] = text
    position = found.layout.slots_start + slot * frames.SLOT_BYTES + 20  # the upper half of the context
    data[position : position + 4] = zlib.crc32(text).to_bytes(4, "little")
    source.put(key, bytes(data))

    assert decode_journal(bytes(data), key=key).payload(slot) == text
    assert len(tracker.dataframe("loss", store=source)) == 6
    assert sync(source, target).complete
    assert tracker.dataframe("loss", store=target).equals(tracker.dataframe("loss", store=source))
