"""Bringing captured work trees into a store, as small as what the store already has allows."""

from __future__ import annotations

import contextlib
import mmap
import time
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO

from blake3 import blake3

from tracker.code.bundle import write_bundle
from tracker.code.worktree import Captured, commit_of_tree, write_commit
from tracker.errors import CodeError, DamagedDocument, KeyExists, KeyNotFound
from tracker.store import keys
from tracker.store.base import Store, has
from tracker.store.documents import Snapshot, decode, encode
from tracker.store.holds import relying

MAX_DEPTH = 20  # bundles that a check-out may have to read
_ANCESTORS = 8  # commits of the user that are tried as a base when this clone has never met the store
_MAX_BYTES = 2 << 30
_LATEST = "refs/hindsight/stores/"


def ship(store: Store, captured: Captured) -> bool:
    """Put a captured work tree, and the repositories inside it, where a worker with only the store can check it out;
    whether the store did not have it.

    What the store has is not sent again. Killed halfway, this leaves at most a bundle without its document, which the
    next one completes. Safe beside other writers: they would write the same commit.
    """
    for module in captured.modules.values():
        ship(store, module)
    if is_shipped(store, captured.commit):
        return False
    base = _find_base(store, captured)
    below = [] if base is None else [name for name in (base.snapshot, base.root) if name is not None]
    wanted = [keys.code_bundle(captured.commit), *map(keys.code_document, below)]
    with relying(store, wanted) as gone:
        _put_bundle(store, captured, None if {*wanted[1:]} & {*gone} else base)
    return True


def is_shipped(store: Store, snapshot: str) -> bool:
    """Whether a store has the whole of a snapshot."""
    return has(store, keys.code_document(snapshot))


def read_snapshot(store: Store, snapshot: str) -> Snapshot:
    """The document of a snapshot; ``KeyNotFound`` when the store has none."""
    key = keys.code_document(snapshot)
    return decode(store.get(key), Snapshot, key=key)


def _put_bundle(store: Store, captured: Captured, base: Snapshot | None) -> None:
    if base is not None and base.depth >= MAX_DEPTH:
        base = _root_of(store, captured, base)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(TemporaryFile(dir=captured.scratch.folder))
        base = _write(captured, file, base)
        size = file.tell()
        if size > _MAX_BYTES:
            raise CodeError(
                f"the code packs to {size:,} bytes, more than the {_MAX_BYTES:,} that are sent to a store: "
                "leave data out with .hindsightignore"
            )
        view = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        data = stack.enter_context(memoryview(view))
        with contextlib.suppress(KeyExists):
            store.create(keys.code_bundle(captured.commit), data)
    document = Snapshot(
        snapshot=captured.commit,
        kind="git",
        created=time.time(),
        size_bytes=size,
        depth=base.depth + 1 if base else 0,
        root=(base.root or base.snapshot) if base else None,
    )
    with contextlib.suppress(KeyExists):
        store.create(keys.code_document(captured.commit), encode(document))


def _write(captured: Captured, file: IO[bytes], base: Snapshot | None) -> Snapshot | None:
    """Write the bundle, whole when the base turns out to be unusable or no help."""
    if base is not None:
        with contextlib.suppress(CodeError):  # the base's objects are gone from this clone
            write_bundle(captured.scratch.git, file, captured.commit, base=base.snapshot)
            if base.depth or file.tell() <= base.size_bytes // 2:
                return base  # else so little is shared with the full bundle that a new one serves better
        file.seek(0)
        file.truncate()
    write_bundle(captured.scratch.git, file, captured.commit, base=None)
    return None


def _root_of(store: Store, captured: Captured, base: Snapshot) -> Snapshot | None:
    """Where a chain has grown long, the next bundle builds on its beginning instead of its end."""
    if base.root is None or not captured.scratch.git.succeeds("cat-file", "-e", base.root):
        return None
    try:
        return read_snapshot(store, base.root)
    except (KeyNotFound, DamagedDocument):
        return None


def _find_base(store: Store, captured: Captured) -> Snapshot | None:
    """A snapshot that the store has whole and whose objects are here: what was shipped last, or an ancestor of HEAD."""
    for commit in _candidates(store, captured):
        if commit == captured.commit:
            continue
        with contextlib.suppress(KeyNotFound, DamagedDocument):
            found = read_snapshot(store, commit)
            if found.kind == "git":
                return found
    return None


def _candidates(store: Store, captured: Captured) -> Iterator[str]:
    if captured.previous is not None:
        yield captured.previous
    if captured.head is None:
        return
    with contextlib.suppress(CodeError):
        trees = captured.repository.git.text(
            "log", f"--max-count={_ANCESTORS}", "--first-parent", "--no-show-signature", "--format=%T", captured.head
        ).split()
        for tree in dict.fromkeys(trees):
            if is_shipped(store, commit_of_tree(tree)[0]):
                yield write_commit(captured.scratch.git, tree)


def latest_ref(store: Store) -> str:
    """The ref in the user's clone that stands on the last snapshot for a store, on which the next probably builds."""
    return f"{_LATEST}{blake3(store.url.encode()).hexdigest()[:16]}"
