"""What one key of a store should hold, and whether it does."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tracker.errors import BadKey, Corrupt, DamagedJournal, DamagedSegment, NewerFormat
from tracker.store import documents, keys
from tracker.store.base import Info, Store
from tracker.store.decoding import decoding
from tracker.store.kinds import KINDS, Kind, Need
from tracker.store.objects import hash_key

ProblemKind = Literal["missing", "damaged", "newer", "orphaned", "unfinished", "unknown"]
Category = Literal["document", "segment", "journal", "object", "bundle", "other"]

_OBJECT = re.compile(r"objects/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_BUNDLE = re.compile(r"code/[^/]+\.bundle")
_PROBE = ".probe/"
_SERIOUS = {"missing", "damaged", "newer"}
_LOGGED = {b"metric", b"argument"}  # roles of columns
_OF_THE_FILE = {errno.EIO, errno.EACCES}  # says nothing of the files beside it


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a store: what, where, in words, and how many bytes it concerns."""

    kind: ProblemKind
    key: str
    detail: str
    size_bytes: int = 0

    @property
    def is_serious(self) -> bool:
        """Whether something was lost, or cannot be read; the others do no harm."""
        return self.kind in _SERIOUS


@dataclass(frozen=True)
class Finding:
    """What one key turned out to be: without its ``owner`` a document is an orphan, without its ``needs`` useless.

    ``values``: how many logged ones a segment holds, or the end of an attempt promises.
    """

    info: Info
    category: Category
    problems: tuple[Problem, ...] = ()
    owner: str | None = None
    needs: tuple[Need, ...] = ()
    snapshot: documents.Snapshot | None = field(default=None, repr=False)
    values: int | None = None


def inspect(store: Store, info: Info, kinds: Sequence[Kind] = KINDS) -> Finding:
    """Read everything under a key and compare it with what its name promises; ``KeyNotFound`` when it is gone.

    A file of this machine that alone cannot be read is damaged, so that it is told and can be repaired; what concerns
    the whole store is ``Unavailable``.
    """
    category, kind = categorise(info.key, kinds)
    try:
        if kind is not None:
            return _inspect_document(store, info, kind)
        if category == "segment":
            return Finding(info, category, values=_read_segment(store, info.key))
        if category == "journal":
            _read_journal(store, info.key)
        elif category == "object":
            _read_object(store, info.key)
        elif category == "bundle":
            _read_bundle(store, info.key)
    except NewerFormat as exc:
        return _found(info, category, "newer", str(exc))
    except (Corrupt, BadKey) as exc:
        return _found(info, category, "damaged", str(exc))
    except OSError as exc:
        cause = exc if exc.errno is not None else exc.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        if number not in _OF_THE_FILE or store.local_path(info.key) is None:
            raise
        advice = "check the disk, and the owner and permissions of the file"
        return _found(info, category, "damaged", f"it cannot be read: {os.strerror(number)}; {advice}")
    return Finding(info, category) if category != "other" else _stranger(info)


def categorise(key: str, kinds: Sequence[Kind] = KINDS) -> tuple[Category, Kind | None]:
    """What a key is by its name, and for a document of which kind."""
    for kind in kinds:
        if kind.fits(key):
            return "document", kind
    if keys.SegmentKey.parse(key):
        return "segment", None
    if keys.JournalKey.parse(key):
        return "journal", None
    if _OBJECT.fullmatch(key):
        return "object", None
    return ("bundle" if _BUNDLE.fullmatch(key) else "other"), None


def _found(info: Info, category: Category, kind: ProblemKind, detail: str) -> Finding:
    return Finding(info, category, (Problem(kind, info.key, detail, info.size_bytes),))


def _stranger(info: Info) -> Finding:
    if info.key == ".gitignore" or info.key.startswith(keys.INDEX):  # the index is derived, and its readers check it
        return Finding(info, "other")
    if info.key.startswith(_PROBE):
        return _found(info, "other", "orphaned", "left behind by an interrupted probe; it may be deleted")
    return _found(
        info, "other", "unknown", "no key of this name belongs to a store; Hindsight neither reads nor deletes it"
    )


def _inspect_document(store: Store, info: Info, kind: Kind) -> Finding:
    key = info.key
    found = documents.decode(store.get(key), kind.form, key=key)
    if isinstance(found, documents.Format) and found.format > documents.FORMAT_NUMBER:
        raise NewerFormat(f"{key} has format {found.format}; this version reads up to {documents.FORMAT_NUMBER}")
    told = kind.told_key(found)
    if told not in (None, key):
        raise Corrupt(f"{key} holds the document of {told}; it was copied or renamed by hand")
    snapshot = found if isinstance(found, documents.Snapshot) else None
    values = _promised(found) if isinstance(found, documents.EndDocument) else None
    needs = tuple(kind.needs(found))
    for need in needs:
        keys.check(need.key)
    return Finding(info, "document", owner=kind.owner(found), needs=needs, snapshot=snapshot, values=values)


def _promised(end: documents.EndDocument) -> int:
    """How many values the segments of an attempt hold at least; a recovery counts those that were damaged, too."""
    return end.records - (end.dropped.get("damaged", 0) if end.recovered else 0)


def _read_segment(store: Store, key: str) -> int:
    with store.open(key) as source, decoding(store, key, "it cannot be read"):
        return read_segment(source, key)


def read_segment(source: Any, key: str) -> int:
    """Read all of an open segment, with the checksums of its pages, and give the number of logged values in it.

    ``Corrupt`` when it is not what its key promises, or what PyArrow raises when it cannot decode it.
    """
    import pyarrow.parquet as pq

    from tracker.store.segments import describe

    if source.read(4) != b"PAR1":  # PyArrow looks at the end only
        raise DamagedSegment("it does not begin as a Parquet file does")
    file = pq.ParquetFile(source, page_checksum_verification=True)
    described = describe(file.schema_arrow)
    if described["format"] > documents.FORMAT_NUMBER:
        raise NewerFormat(f"it has format {described['format']}; this version reads up to {documents.FORMAT_NUMBER}")
    rows = records = 0
    for batch in file.iter_batches(use_threads=False):  # who calls has threads enough
        rows += batch.num_rows
        records += count_values(batch)
    if rows != file.metadata.num_rows:
        raise DamagedSegment(f"it has {rows} rows and says {file.metadata.num_rows}")
    _compare_segment(key, described)
    return records


def count_values(batch: Any) -> int:
    """How many logged values rows of a segment hold, those of ``None`` among them."""
    import pyarrow as pa

    found = 0
    for about, column in zip(batch.schema, batch.columns, strict=True):
        role = (about.metadata or {}).get(b"role")
        if role in _LOGGED:
            found += len(column) - column.null_count
        elif role == b"none" and isinstance(column, pa.BooleanArray):
            found += column.true_count
    return found


def _compare_segment(key: str, described: dict[str, Any]) -> None:
    named = keys.SegmentKey.parse(key)
    assert named is not None
    path = described.get("path")
    told = (described.get("run"), described.get("shard"), keys.path_part(path) if isinstance(path, list) else path)
    if told != (named.run, named.shard, named.path):
        raise DamagedSegment(f"it says that it belongs to run, shard and path {told}; it was copied or renamed by hand")


def _read_journal(store: Store, key: str) -> None:
    from tracker.store.journals import decode_journal, read_journal

    path = store.local_path(key)
    found = read_journal(path) if path is not None else decode_journal(store.get(key), key=key)
    if found.dropped_bytes:
        raise DamagedJournal(f"{found.dropped_bytes:,} bytes of frames are torn or cut off; the others can be read")


def _read_object(store: Store, key: str) -> None:
    digest, size = hash_key(store, key)
    if keys.object_key(digest) != key:
        raise Corrupt(f"its {size:,} bytes have the hash {digest}; restore it from a copy, or record it again")


def _read_bundle(store: Store, key: str) -> None:
    start = store.get_range(key, 0, 16)
    if not re.match(rb"# v[23] git bundle", start):
        raise Corrupt(f"it begins with {start!r} and not as a git bundle does")
    if store.local_path(key) is not None:
        hash_key(store, key)  # a bad spot of the disk is told of this key
