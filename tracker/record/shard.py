"""Shards: one process's share of an attempt, as a numbered series of journal files."""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tracker.config import Settings
from tracker.record.journal import Journal
from tracker.store import durable, ids
from tracker.store.frames import ANYTHING, JournalHeader, Need, layout_for
from tracker.store.keys import JournalKey
from tracker.store.processes import Writer, this_writer

_FIRST_JOURNAL_BYTES = 1 << 20


@dataclass
class Shard:
    """One process's share of an attempt: where its journals lie and how they are numbered."""

    run: str
    attempt: str
    folder: Path
    settings: Settings
    id: str
    root: Path | None = None  # the project's folder
    writer: Writer = field(default_factory=this_writer)
    next_first: int = 0
    journals_made: int = 0

    def fork(self) -> Shard:
        """The shard of a forked child."""
        return Shard(
            self.run, self.attempt, self.folder, self.settings, f"{self.attempt}_{ids.new_suffix()}", self.root
        )

    def new_journal(self, need: Need = ANYTHING) -> Journal:
        """The next journal file; ``OSError`` when the disk has no room for it."""
        size = min(_FIRST_JOURNAL_BYTES << self.journals_made, self.settings.journal_bytes)
        layout = layout_for(size, need)
        # The number is taken first: a destructor or signal handler that logs may come in here again.
        first, self.next_first = self.next_first, self.next_first + layout.slots
        header = JournalHeader(
            run=self.run, attempt=self.attempt, shard=self.id, first=first, created=time.time(), writer=self.writer
        )
        is_durable = self.settings.fsync != "none"
        path = self.folder / str(JournalKey(self.run, self.id, first)).rsplit("/", 1)[1]
        journal = None
        while journal is None:
            if is_durable:
                durable.make_folder(self.folder)
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another attempt of the run ended just now, and removed the empty folder
                journal = Journal.create(path, header, layout)
        journal.populate()
        if is_durable:
            journal.sync()
            durable.sync_folder(self.folder)
        self.journals_made += 1
        return journal


def describe_failure(exc: OSError, folder: Path) -> str:
    """Why a journal could not be made, and what that means."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space is left for journals in {folder}; records are dropped and counted until there is room"
    if exc.errno == errno.EFBIG:
        return (
            f"the file size limit of this process does not allow a journal in {folder}; records are dropped and counted"
        )
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{folder} cannot be written ({exc.strerror}); records are dropped and counted"
    return f"a journal in {folder} cannot be created: {exc}; records are dropped and counted"
